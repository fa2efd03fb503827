"Kernels for an app.ipynb with cells of its own"
import os, re
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from voila.tornado.handler import TornadoVoilaHandler
from tellapart.pages import render

VISITORS = 20 # at a time; a kernel takes about 100 MB
_RETRY = 10 # seconds
_SECRET = re.compile(r'secret|token|passw|credential|key|database_url|dsn', re.I)


def public_environment(
    env:dict[str, str], # Of the server
)->dict[str, str]:
    "The variables that a visitor's kernel may know: none whose name speaks of a secret"
    return {k: v for k,v in env.items() if not _SECRET.search(k)}


class Kernels(AsyncMappingKernelManager):
    "Starts kernels without the server's secrets"
    async def start_kernel(self, *, env=None, **kwargs):
        return await super().start_kernel(env=public_environment(env or dict(os.environ)), **kwargs)


class Visit(TornadoVoilaHandler):
    "Shows the notebook with a kernel of its own, or says that the app is full"
    def initialize(self, visitors:int, **kwargs):
        super().initialize(**kwargs)
        self.visitors = visitors

    async def get(self, path=None):
        waiting = self.voila_configuration.default_pool_size if self.voila_configuration.preheat_kernel else 0
        if len(self.kernel_manager.list_kernel_ids()) < self.visitors + waiting:
            return await super().get(path)
        self.set_status(503)
        self.set_header('Retry-After', _RETRY)
        self.finish(render('full.html', visitors=self.visitors, seconds=_RETRY))


class QuietKernels(KernelSpecManager):
    "Starts kernels without ipykernel's warning about encryption, which loopback doesn't need, and ends them without tracebacks"
    def get_kernel_spec(self, kernel_name):
        spec = super().get_kernel_spec(kernel_name)
        spec.argv.append('--log-level=CRITICAL')
        spec.interrupt_mode = 'message' # a signal would interrupt the imports of a kernel that is starting
        return spec
