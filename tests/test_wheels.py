"What a plain install needs is there for every system, ready built"
import os, subprocess
import pytest
from fresh import ROOT, UV


@pytest.mark.skipif(not UV, reason="no uv: it reads the package index for other systems than this")
@pytest.mark.parametrize('system', ['windows', 'macos', 'linux'])
def test_wheels(system):
    "The package index's metadata has a wheel of each need, and of what those need in turn"
    command = [UV, 'pip', 'compile', '--quiet', '--only-binary', ':all:', '--python-platform', system, '--python-version', '3.11']
    env = os.environ | dict(UV_HTTP_TIMEOUT='20', UV_HTTP_RETRIES='1')
    done = subprocess.run([*command, ROOT/'pyproject.toml'], capture_output=True, text=True, env=env)
    if 'Failed to fetch' in done.stderr: pytest.skip("the package index can't be reached")
    assert done.returncode == 0, done.stderr
    assert {'onnxruntime', 'numpy', 'pillow', 'pillow-heif'} <= {o.split('==')[0] for o in done.stdout.splitlines()}
