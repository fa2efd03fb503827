"What a plain install needs is there for every system, ready built"
import os, shutil, subprocess, sys
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[1]
UV = shutil.which('uv', path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get('PATH', '')]))


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
