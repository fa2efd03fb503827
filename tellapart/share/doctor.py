"Check a folder before it is shared, and the machine and project that make one"
import gzip, io, json, os, re, shutil, socket, subprocess, sys, tarfile, time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import Request, urlopen
import numpy as np
from PIL import Image
from tellapart.errors import TellapartError, listed
from tellapart.machine import lan_address, program
from tellapart.use.classifier import Classifier, read_meta
from tellapart.use.rounding import decode_weights

PASSED,WARNED,FAILED = 'passed', 'warned', 'failed'
MAX_COMPRESSED = 500*2**20 # bytes of the folder and its packages, on Heroku
MAX_MEMORY = 512*2**20 # bytes, on Heroku and Render's free plan
# Private keys, and keys of Amazon, GitHub, Hugging Face, OpenAI and Slack
_SECRET = re.compile(rb'-----BEGIN (?:\w+ )*PRIVATE KEY|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_\w{30,}|\bhf_\w{30,}|\bsk-[\w-]{30,}'
                     rb'|\bxox[bp]-[\w-]{20,}')
_HOME = re.compile(rb'/(?:home|Users)/[\w.-]+/|[A-Z]:\\\\?Users\\\\?[\w.-]+')
_TEXT = {'.ipynb', '.json', '.md', '.txt', '.toml', '.yaml', '.yml', '.py', '.html', '.js', ''}
_LINK = re.compile(r'https://mybinder\.org/v2/gh/[\w.-]+/[\w.-]+/[\w.-]+\?urlpath=voila%2Frender%2Fapp\.ipynb')


class Finding(NamedTuple):
    "What a check found"
    status:str # PASSED, WARNED or FAILED
    what:str # That was checked
    found:str # In words, with the cure where it didn't pass


def _show(findings:Iterator[Finding])->bool:
    "Print findings as they come; whether none has failed"
    counts = dict.fromkeys((PASSED, WARNED, FAILED), 0)
    for status,what,found in findings:
        counts[status] += 1
        print(f'{status:7} {what:24} {found}', flush=True)
    print(f"\n{', '.join(f'{n} {status}' for status,n in counts.items())}")
    return not counts[FAILED]


# --- A folder ---

def check_folder(
    folder:Path, # As `tellapart share` writes it
)->bool: # Whether nothing failed. Raises `TellapartError` where there is no such folder
    "Print what is right and what is wrong in a folder that is to be shared"
    if not folder.is_dir(): raise TellapartError(f"{folder} is no folder: name one that tellapart share has written.")
    checks = _page_findings if (folder/'sw.js').exists() else _app_findings
    return _show(checks(folder))


def _page_findings(folder:Path)->Iterator[Finding]:
    "A static page"
    found = re.match(r'const PAGE = (.*);', (folder/'sw.js').read_text('utf-8'))
    files = [o for o in json.loads(found[1])['files'] if o != './'] if found else []
    missing = [o for o in files if not (folder/o).is_file()]
    yield (Finding(FAILED, 'files', f"{listed(missing)} isn't there: run tellapart share page {folder} again.") if missing or not files
           else Finding(PASSED, 'files', f"all {len(files)} files of the page are there"))
    if missing or not files:
        return
    large = [o for o in files if (folder/o).stat().st_size > 25*2**20]
    total = sum((folder/o).stat().st_size for o in files)/1e6
    yield (Finding(WARNED, 'size', f"{listed(large)} has more than 25 MiB, which Cloudflare refuses") if large
           else Finding(PASSED, 'size', f"{total:.1f} MB, no file over 25 MiB"))
    yield _graph_finding(folder)
    yield from _leaks(folder)


def _graph_finding(folder:Path)->Finding:
    "Whether the page's model computes, by the same runtime"
    import onnxruntime as ort
    html = (folder/'index.html').read_text('utf-8')
    found = re.search(r'<script type="application/json" id="model">(.*?)</script>', html, re.S)
    try:
        meta = json.loads(found[1])['meta'] # type: ignore[index]
        body,weights = meta['graphs']['body'],(folder/meta['weights']['file']).read_bytes()
        options = ort.SessionOptions()
        def array(o): return decode_weights(weights[o['offset']:o['offset'] + o['length']], o['dtype'], (o['n'],))
        arrays = {o['path']: array(o) for o in body['weights']}
        options.log_severity_level = 4
        places = [Path(o) for o in arrays]
        with TemporaryDirectory() as tmp: # where the graph finds its weights by name
            for place,o in zip(places, arrays.values()):
                (to := Path(tmp)/place).parent.mkdir(parents=True, exist_ok=True)
                to.write_bytes(o.tobytes())
            shutil.copy(folder/body['graph'], graph := Path(tmp)/'graph.onnx')
            session = ort.InferenceSession(str(graph), options, providers=['CPUExecutionProvider'])
            width,height = meta['size']
            logits = session.run(['logits'], {session.get_inputs()[0].name: np.zeros((1, len(meta['mean']), height, width), 'float32')})[0]
        if logits.shape != (1, len(meta['labels'])) or not np.isfinite(logits).all(): raise ValueError
    except Exception: # whatever damage does
        return Finding(FAILED, 'model', f"it can't be computed: run tellapart share page {folder} again")
    return Finding(PASSED, 'model', f"{len(meta['labels'])} labels, in {meta['bits']} bits")


def _leaks(folder:Path)->Iterator[Finding]:
    "Secrets, and paths of the machine"
    secrets,homes = [],[]
    for o in sorted(folder.rglob('*')):
        name = o.relative_to(folder).as_posix()
        if not o.is_file() or o.suffix not in _TEXT or name.startswith(('.git/', 'tellapart/')): continue
        content = o.read_bytes()
        if o.name == '.env' or _SECRET.search(content): secrets.append(name)
        if _HOME.search(content): homes.append(name)
    yield (Finding(FAILED, 'secrets', f"{listed(secrets)} may have a key or a password in it: take it out, and change it") if secrets
           else Finding(PASSED, 'secrets', "no keys and no passwords were seen"))
    if homes: yield Finding(WARNED, 'paths', f"{listed(homes)} names a folder of this machine: take that out")


def _app_findings(folder:Path)->Iterator[Finding]:
    "An app for a host that runs Python"
    yield (model := _export_finding(folder/'export.pkl'))
    yield (pins := _requirements_finding(folder/'requirements.txt'))
    yield _runtime_finding(folder)
    yield _link_finding(folder/'README.md')
    yield from _leaks(folder)
    if FAILED in (model.status, pins.status):
        yield Finding(WARNED, 'start', "not tried, because of what failed above")
        return
    yield from _start_findings(folder)


def _export_finding(path:Path)->Finding:
    "Whether export.pkl is there, complete, and answers"
    try:
        classify = Classifier(path)
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype='uint8'))
        classify(noise)
    except TellapartError as e:
        return Finding(FAILED, 'export.pkl', str(e))
    size = path.stat().st_size
    if size > 100*10**6:
        return Finding(FAILED, 'export.pkl', f"{size/1e6:.0f} MB, and GitHub takes 100 at most: train a smaller network")
    if not all(o.strip() for o in classify.labels):
        return Finding(FAILED, 'export.pkl', "a label is empty: give it a name by tellapart export --rename, or export again")
    return Finding(PASSED, 'export.pkl', f"{size/1e6:.0f} MB, format {read_meta(path)['format']}, tells apart {listed(classify.labels, 5)}")


def _requirements(path:Path)->list[str]:
    "The lines that name packages"
    return [o.strip() for o in path.read_text('utf-8').splitlines() if o.strip() and not o.strip().startswith('#')]


def _requirements_finding(path:Path)->Finding:
    "Whether the packages are pinned, without those that are too large for a host"
    try: lines = _requirements(path)
    except OSError:
        return Finding(FAILED, 'requirements.txt', "it isn't there: run tellapart share again")
    names = {re.split(r'[\[=<>~! ;]', o)[0].lower().replace('_', '-') for o in lines}
    heavy = sorted(names & {'torch', 'torchvision', 'fastai', 'tensorflow', 'timm'})
    if heavy:
        return Finding(FAILED, 'requirements.txt', f"the app doesn't need {listed(heavy)}, which is too large for a free host: take it out")
    loose = [o for o in lines if '==' not in o]
    if loose:
        return Finding(FAILED, 'requirements.txt', f"{listed(loose)} has no version: write name==1.2.3, so that it runs next year, too")
    return _resolved(path, len(lines))


def _resolved(path:Path, n:int)->Finding:
    "Whether the package index has all of them for the Python that is named"
    python = _python(path.parent) or '3.11'
    command = ([uv, 'pip', 'compile', '--quiet', '--no-header', '--python-version', python, '--only-binary', ':all:', str(path)]
               if (uv := program('uv')) else
               [sys.executable, '-m', 'pip', 'install', '--dry-run', '--quiet', '--ignore-installed', '--python-version', python,
                '--only-binary=:all:', '--target', os.devnull, '--requirement', str(path)])
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if not done.returncode:
        return Finding(PASSED, 'requirements.txt', f"{n} packages, pinned, to be had for Python {python}")
    wrong = re.findall(r'No matching distribution found for (\S+)|there (?:is|are) no versions? of (\S+)', done.stderr)
    if wrong and 'onnect' not in done.stderr:
        return Finding(FAILED, 'requirements.txt', f"there is no {''.join(wrong[0])} for Python {python}: choose another version")
    return Finding(WARNED, 'requirements.txt', f"{n} packages, pinned; the package index couldn't be asked for them")


def _python(folder:Path)->str:
    "The version of Python that a host is to use; '' where none is named"
    for name,prefix in ('.python-version', ''), ('runtime.txt', 'python-'):
        try: text = (folder/name).read_text('utf-8').strip()
        except OSError: continue
        if found := re.fullmatch(rf'{prefix}(3\.\d+)', text):
            return found[1]
    return ''


def _runtime_finding(folder:Path)->Finding:
    "Whether Python's version is named in a form that hosts read"
    if (folder/'Dockerfile').exists():
        return Finding(PASSED, 'Python', "the Dockerfile names it")
    if python := _python(folder):
        return Finding(PASSED, 'Python', python)
    return Finding(FAILED, 'Python', "hosts can't read its version: write 3.11 into .python-version and python-3.11 into runtime.txt")


def _link_finding(path:Path)->Finding:
    "Whether the README's link can lead to the app"
    text = path.read_text('utf-8') if path.exists() else ''
    links = re.findall(r'https://mybinder\.org/v2/[^\s)]+', text)
    if any(not _LINK.fullmatch(o) for o in links):
        return Finding(FAILED, 'link', f"{links[0]} doesn't open the app: it ends with ?urlpath=voila%2Frender%2Fapp.ipynb")
    if 'YOUR-REPOSITORY' in text or 'your-repository' in text:
        return Finding(WARNED, 'link', "it names no repository: run tellapart share again with --repo OWNER/NAME")
    return Finding(PASSED, 'link', "well formed")


def _start_command(folder:Path)->str:
    "What the host runs"
    if (folder/'Procfile').exists():
        return (folder/'Procfile').read_text('utf-8').partition('web:')[2].strip()
    found = re.search(r'CMD \["sh", "-c", "(.*)"\]', (folder/'Dockerfile').read_text('utf-8')) if (folder/'Dockerfile').exists() else None
    return found[1] if found else ''


def _start_findings(folder:Path)->Iterator[Finding]:
    "Install the packages into a fresh environment, start the app from a copy of the folder alone, and ask it"
    command = _start_command(folder)
    if not command:
        yield Finding(FAILED, 'start', "no Procfile and no Dockerfile say how: run tellapart share again")
        return
    with TemporaryDirectory(prefix='tellapart-doctor-') as tmp:
        copy,env = Path(tmp)/'app',Path(tmp)/'env'
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns('.git'))
        if said := _install(env, copy/'requirements.txt'):
            yield Finding(WARNED, 'start', f"not tried, because the packages couldn't be installed: {said}")
            return
        size = _compressed([copy, *env.glob('[lL]ib/**/site-packages')]) # not lib64 too, which is a link to lib
        yield (Finding(FAILED, 'compressed size', f"{size/2**20:.0f} MB, more than Heroku's {MAX_COMPRESSED//2**20}: use a smaller network")
               if size > MAX_COMPRESSED else Finding(PASSED, 'compressed size', f"{size/2**20:.0f} of {MAX_COMPRESSED//2**20} MB"))
        yield from _ask(copy, env, command)


def _install(env:Path, requirements:Path)->str:
    "Make an environment with the packages; why that couldn't be, or ''"
    uv = program('uv')
    python = env/('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    if uv:
        make = [uv, 'venv', str(env)]
        fill = [uv, 'pip', 'install', '--compile-bytecode', '--python', str(python)] # compiled, as pip does it on the host
    else:
        make = [sys.executable, '-m', 'venv', str(env)]
        fill = [str(python), '-m', 'pip', 'install']
    for command in make,[*fill, '--quiet', '--requirement', str(requirements)]:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            return (done.stderr.strip() or done.stdout.strip() or 'no reason was given').splitlines()[-1][:200]
    return ''


class _Counter(io.RawIOBase):
    "A file that only counts what is written"
    size = 0
    def writable(self): return True
    def write(self, data):
        self.size += len(data)
        return len(data)


def _compressed(folders:list[Path])->int:
    "Bytes of folders in a compressed archive"
    with gzip.GzipFile(fileobj=(counter := _Counter()), mode='wb', compresslevel=6) as f, tarfile.open(fileobj=f, mode='w|') as t:
        for i,o in enumerate(folders): t.add(o, f'{i}')
    return counter.size


@contextmanager
def _running(folder:Path, env:Path, command:str, port:int)->Iterator[subprocess.Popen]:
    "The app, while the context lasts"
    programs = env/('Scripts' if os.name == 'nt' else 'bin')
    clean = {k: v for k,v in os.environ.items() if not k.startswith(('PYTHON', 'TELLAPART'))}
    variables = clean | dict(PORT=str(port), PATH=f'{programs}{os.pathsep}{os.environ.get("PATH", "")}', VIRTUAL_ENV=str(env))
    server = subprocess.Popen(['sh', '-c', f"exec {command.removeprefix('exec ')}"], cwd=folder, env=variables,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield server
    finally:
        server.terminate()
        server.wait(20)


def _free_port()->int:
    with socket.socket() as s:
        s.bind(('', 0))
        return s.getsockname()[1]


def _ask(folder:Path, env:Path, command:str)->Iterator[Finding]:
    "Start the app, and classify a photo by its API"
    port = _free_port()
    at,start = f"http://{lan_address() or '127.0.0.1'}:{port}",time.monotonic()
    with _running(folder, env, command, port) as server:
        if said := _wait(server, f'{at}/healthz'):
            yield Finding(FAILED, 'start', f"it doesn't answer on $PORT, on all interfaces: {said}")
            return
        yield Finding(PASSED, 'start', f"answers on $PORT after {time.monotonic() - start:.1f} s, with nothing but the folder")
        Image.new('RGB', (64, 64), 'gray').save(photo := io.BytesIO(), 'PNG')
        edge = 'tellapart-doctor'
        body = f'--{edge}\r\nContent-Disposition: form-data; name="photo"; filename="a.png"\r\n\r\n'.encode() + photo.getvalue()
        headers = {'Content-Type': f'multipart/form-data; boundary={edge}'}
        request = Request(f'{at}/api/classify', body + f'\r\n--{edge}--\r\n'.encode(), headers)
        try: label = json.load(urlopen(request, timeout=60))['predictions'][0]['label']
        except (OSError, ValueError, LookupError) as e:
            yield Finding(FAILED, 'a photo', f"it isn't classified: {e}")
            return
        yield Finding(PASSED, 'a photo', "is classified") if label else Finding(FAILED, 'a photo', "gets no label: export again")
        if memory := _memory(server.pid):
            yield (Finding(FAILED, 'memory', f"{memory/2**20:.0f} MB, more than {MAX_MEMORY//2**20}: use a smaller network")
                   if memory > MAX_MEMORY else Finding(PASSED, 'memory', f"{memory/2**20:.0f} of {MAX_MEMORY//2**20} MB"))


def _wait(server:subprocess.Popen, url:str, seconds:int=60)->str:
    "Wait until `url` answers; what the server has said where it doesn't, or ''"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if server.poll() is not None:
            return ((server.stdout.read() if server.stdout else '').strip() or 'it ended').splitlines()[-1][:200]
        try:
            urlopen(url, timeout=5).close()
            return ''
        except (URLError, OSError): time.sleep(.2)
    return f'not within {seconds} s'


def _memory(pid:int)->int:
    "Bytes that a process and its children take, shared ones in proportion; 0 where that can't be told"
    total = 0
    for o in [pid, *_children(pid)]:
        try: total += 1024*int(re.search(r'^Pss:\s+(\d+)', Path(f'/proc/{o}/smaps_rollup').read_text(), re.M)[1]) # type: ignore[index]
        except (OSError, TypeError): pass
    return total


def _children(pid:int)->list[int]:
    "Processes that a process has started, and theirs"
    try: own = [int(o) for task in Path(f'/proc/{pid}/task').iterdir() for o in (task/'children').read_text().split()]
    except OSError:
        return []
    return own + [o for child in own for o in _children(child)]


# --- The machine ---

# What is asked for over the network, and what to do without it
_REACHABLE = {'pretrained weights': ('download.pytorch.org', "the first model needs none; for a ResNet, name a file in the project"),
              'image search': ('duckduckgo.com', "use photos of your own, or --rehearse")}


def check_machine()->bool: # Whether nothing failed
    "Print what this machine and project have"
    return _show(_machine_findings())


def _machine_findings()->Iterator[Finding]:
    now = '.'.join(map(str, sys.version_info[:3]))
    yield (Finding(PASSED, 'Python', now) if sys.version_info >= (3, 11) else
           Finding(FAILED, 'Python', f"{now}: tellapart needs 3.11 or newer"))
    yield _pair_finding()
    yield _gpu_finding()
    yield from _room_findings()
    for what,(name,cure) in _REACHABLE.items(): yield _reachable_finding(what, name, cure)
    yield _project_finding()


def _pair_finding()->Finding:
    "torch and torchvision, which must be a pair"
    try: pair = version('torch'), version('torchvision')
    except PackageNotFoundError:
        return Finding(WARNED, 'torch', "not installed, so this machine classifies but doesn't train; to train: tellapart install learn")
    done = subprocess.run([sys.executable, '-c', 'import torchvision; torchvision.ops.nms'], capture_output=True, text=True)
    if done.returncode:
        return Finding(FAILED, 'torch', f"torch {pair[0]} and torchvision {pair[1]} are no pair: run tellapart install learn")
    return Finding(PASSED, 'torch', f"torch {pair[0]} and torchvision {pair[1]} are a pair")


def _gpu_finding()->Finding:
    "Whether PyTorch can use a GPU"
    name = 'torch.cuda.get_device_name() if torch.cuda.is_available() else "MPS" if torch.backends.mps.is_available() else ""'
    done = subprocess.run([sys.executable, '-c', f'import torch; print({name})'], capture_output=True, text=True)
    if name := done.stdout.strip():
        return Finding(PASSED, 'GPU', name)
    there = shutil.which('nvidia-smi')
    return Finding(WARNED, 'GPU', "there is one, but this PyTorch can't use it: install the CUDA build" if there else
                   "none that PyTorch can use: training takes minutes where a GPU takes seconds; the first model takes seconds anyway")


def _room_findings()->Iterator[Finding]:
    "Shared memory and disk"
    if Path('/dev/shm').exists():
        free = shutil.disk_usage('/dev/shm').free
        yield (Finding(PASSED, '/dev/shm', f"{free/2**20:,.0f} MB") if free >= 512*2**20 else
               Finding(WARNED, '/dev/shm', f"{free/2**20:,.0f} MB, too little for several workers: docker run --shm-size 1g"))
    free = shutil.disk_usage('.').free
    yield (Finding(PASSED, 'disk', f"{free/1e9:,.0f} GB are free") if free > 5e9 else
           Finding(WARNED, 'disk', f"{free/1e9:.1f} GB are free; a project takes a few, PyTorch two to six"))


def _reachable_finding(what:str, name:str, cure:str)->Finding:
    try: socket.create_connection((name, 443), timeout=3).close()
    except OSError:
        return Finding(WARNED, what, f"{name} can't be reached: {cure}")
    return Finding(PASSED, what, f"{name} can be reached")


def _project_finding()->Finding:
    "The project's file"
    try:
        from tellapart.project import read_project
        p = read_project()
    except TellapartError as e:
        return Finding(WARNED, 'project', str(e))
    made = f", exported to {p.export}" if p.export.exists() else ", not exported yet"
    return Finding(PASSED, 'project', f"{p.name} tells apart {listed(list(p.labels), 5)}{made}")
