"What tests with processes of their own share: they are forked, where there is fork, from one that has imported what takes long to import"
import multiprocessing, os

context = multiprocessing.get_context('forkserver' if os.name == 'posix' else 'spawn')
context.set_forkserver_preload(['fastai.vision.all', 'httpx', 'imagehash', 'jinja2', 'matplotlib.pyplot', 'nbdev.test', 'onnxscript',
                                'scipy.stats', 'sklearn.linear_model', 'timm'])
