"Kernels for an app.ipynb with cells of its own"
import os, re
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager

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


class QuietKernels(KernelSpecManager):
    "Starts kernels without ipykernel's warning about encryption, which loopback doesn't need, and ends them without tracebacks"
    def get_kernel_spec(self, kernel_name):
        spec = super().get_kernel_spec(kernel_name)
        spec.argv.append('--log-level=CRITICAL')
        spec.interrupt_mode = 'message' # a signal would interrupt the imports of a kernel that is starting
        return spec
