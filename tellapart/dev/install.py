"Install what a part of tellapart needs into the running virtual environment: plain Python, as it is what comes first"
import hashlib, json, os, shutil, subprocess, sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from sysconfig import get_path
from urllib.request import urlopen
from .. import __version__
from ..errors import TellapartError, need
from ..machine import program

# Each part's extras in pyproject.toml
EXTRAS = {'use': '', 'learn': '[learn]', 'docs': '[learn,docs]', 'test': '[learn,feedback,ray,docs,test]', 'bench': '[learn,ray,bench]'}
CPU_INDEX = 'https://download.pytorch.org/whl/cpu' # PyTorch's own, an eighth of the size of a build with CUDA
STAMP = Path(sys.prefix)/'tellapart.json' # What has been installed, and for which list of needs
ROOT = Path(__file__).resolve().parents[2]


def is_checkout()->bool:
    "Whether the package lies in a checkout, with tests and benchmarks beside it"
    return (ROOT/'pyproject.toml').exists() and (ROOT/'notebooks').exists()


def checkout()->Path: # Raises `TellapartError` where there is none
    "The folder with the tests, benchmarks and documents, which an installed package doesn't carry"
    if is_checkout():
        return ROOT
    raise TellapartError("The tests, benchmarks and documents come with a checkout of tellapart, which this isn't: "
                         "clone its repository, and run this there.")


def _needs():
    "The list of what the package needs, as text"
    if is_checkout():
        return (ROOT/'pyproject.toml').read_text('utf-8')
    try:
        return distribution('tellapart').read_text('METADATA')
    except PackageNotFoundError:
        raise TellapartError(f"{ROOT} is neither a checkout of tellapart nor where it is installed: run pip install tellapart.") from None


def _constraints():
    "The file of tested versions beside a checkout's pyproject.toml, and its content; nothing elsewhere"
    file = ROOT/'constraints.txt'
    return (file, file.read_text('utf-8')) if is_checkout() and file.exists() else ()


def _state():
    "A hash of what an installation depends on: if Python, the folder or the dependencies change, it must be repeated"
    return hashlib.sha256(f'{sys.version} {ROOT} {_needs()} {_constraints()}'.encode()).hexdigest()


def prepare_kernels():
    "Set what notebooks inherit: the environment's programs, also where it isn't activated, and threads that sleep while they wait"
    os.environ.setdefault('OMP_WAIT_POLICY', 'PASSIVE') # else PyTorch is many times slower beside a busy program
    os.environ['PATH'] = os.pathsep.join([get_path('scripts'), os.environ.get('PATH', '')])


def _installed(state):
    "The parts that have been installed in this state already"
    try:
        stamp = json.loads(STAMP.read_text())
        return set(stamp['parts']) if stamp['state'] == state else set()
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _wants_cpu_build():
    "Whether to take torch from PyTorch's CPU index: on Linux, where the package index has it for CUDA only"
    if sys.platform != 'linux':
        return False
    if (smi := shutil.which('nvidia-smi')) and subprocess.run([smi, '-L'], capture_output=True).returncode == 0:
        return False
    try:
        return bool(urlopen(f'{CPU_INDEX}/torch/', timeout=5))
    except OSError:
        return False


def _installers(part, cpu):
    "The commands that install `part`, the better one first; pip comes with Python and heeds its user's settings"
    what = ['-e', f'.{EXTRAS[part]}'] if is_checkout() else [f'tellapart{EXTRAS[part]}=={__version__}']
    what += [o for file in _constraints()[:1] for o in ('-c', str(file))]
    if uv := program('uv'):
        # Compiled once here, not by each program that may not write into the environment: importing fastai takes 5 s then, else 14.
        how = ['--compile-bytecode', '--python', sys.executable, *(['--torch-backend', 'cpu'] if cpu else [])]
        yield [uv, 'pip', 'install', *how, *what]
    if find_spec('pip'): yield [sys.executable, '-m', 'pip', 'install', *(['--extra-index-url', CPU_INDEX] if cpu else []), *what]


def _check_pair():
    "Check that torch and torchvision are builds that fit each other, which no installer knows"
    done = subprocess.run([sys.executable, '-c', 'import torchvision; torchvision.ops.nms'], capture_output=True, text=True)
    if not done.returncode:
        return
    in_venv = sys.prefix != sys.base_prefix
    cure = f"install into a fresh virtual environment, after removing {sys.prefix}" if in_venv else "install into a virtual environment"
    why = (done.stderr.strip().splitlines() or [f'exit status {done.returncode}'])[-1]
    raise TellapartError(f"torch and torchvision don't fit each other ({why}): {cure}.")


def install(
    part:str='use', # One of `EXTRAS`
)->None: # Raises `TellapartError` if it can't be done
    "Install what `part` needs; at once where that has been done already"
    if part in ('docs', 'test', 'bench'): checkout()
    state = _state()
    parts = _installed(state)
    if part not in parts:
        cpu = part != 'use' and _wants_cpu_build()
        if not any(subprocess.run(o, cwd=ROOT).returncode == 0 for o in _installers(part, cpu)):
            raise TellapartError("Installing failed, for the reason above; run it again to continue where it stopped.")
        if part != 'use': _check_pair()
        parts |= {part, 'use'} | ({'learn'} if part != 'use' else set())
        with suppress(OSError): # then the next call installs again
            STAMP.write_text(json.dumps(dict(state=state, parts=sorted(parts))))
    if part == 'test': install_programs()


_BROWSER_NAMES = 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'msedge'
_BROWSER_PATHS = ('/Applications/Chromium.app/Contents/MacOS/Chromium', '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
           r'C:\Program Files\Google\Chrome\Application\chrome.exe', r'C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe')


def chromium()->str|None:
    "The browser that tests can drive: the system's Chromium, Chrome or Edge, or Playwright's own; `None` where there is none"
    found = [path for o in _BROWSER_NAMES if (path := shutil.which(o))] + [o for o in _BROWSER_PATHS if Path(o).exists()]
    if found:
        return found[0]
    need('playwright', extra='test')
    from playwright.sync_api import sync_playwright
    with sync_playwright() as p: own = p.chromium.executable_path
    return own if Path(own).exists() else None


def postgresql()->Path|None:
    "The folder of PostgreSQL's programs; `None` where there is none"
    debian = sorted(Path('/usr/lib/postgresql').glob('*/bin/initdb')) # which aren't on the path there
    found = str(debian[-1]) if debian else shutil.which('initdb')
    return Path(found).parent if found else None


def install_programs():
    "See to a browser, a database and npm for the tests: as root from the system's packages, else by saying what to type"
    def missing():
        return [name for name,found in (('chromium', chromium()), ('postgresql', postgresql()), ('npm', shutil.which('npm'))) if not found]
    has_apt = bool(shutil.which('apt-get'))
    if missing() and has_apt and os.geteuid() == 0:
        apt = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-q']
        if subprocess.run([*apt, 'update']).returncode == 0: subprocess.run([*apt, 'install', '-y', *missing()])
    if absent := missing():
        how = f"sudo apt-get install {' '.join(absent)}" if has_apt else f"install {' and '.join(absent)} from the system's packages"
        browser = f", or for the browser {sys.executable} -m playwright install chromium" if 'chromium' in absent else ''
        print(f"Not here: {' and '.join(absent)}. The tests with it are left out; to run them: {how}{browser}")
