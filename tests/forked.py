"What tests with processes of their own share: they are forked, where there is fork, from one that has imported the package"
import multiprocessing, os

context = multiprocessing.get_context('forkserver' if os.name == 'posix' else 'spawn')
context.set_forkserver_preload(['tellapart.gather.gather'])
