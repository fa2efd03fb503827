"Run notebooks from the command line, top to bottom, and tell what happens"
import asyncio, io, json, os, re, sys
from ast import literal_eval
from base64 import b64decode, b64encode
from collections.abc import Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
import nbformat, zmq
from fastcore.xtras import working_directory
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbdev.clean import nbdev_clean
from tqdm import tqdm
from ..course import PACKED, course
from ..errors import TellapartError
from ..images import open_photo
from ..project import Project, summary, clear_summary
from .install import prepare_kernels


def _headings(nb):
    "For each cell the heading that it stands under"
    heading = ''
    for cell in nb.cells:
        if cell.cell_type == 'markdown': heading = (re.findall(r'^#+ +(.+)', cell.source, re.M) or [heading])[-1]
        yield heading


def _readable(content):
    "The part of a cell's output to show in a terminal: printed text, and results that are sentences"
    if content.get('name') == 'stdout':
        return re.sub(r'[^\n]*\r(?!\n)', '', content['text'])
    data = content.get('data', {})
    text = data.get('text/plain', '') if len(data) == 1 else ''
    with suppress(ValueError, SyntaxError): text = str(literal_eval(text)) # a string shows as its repr
    return text + '\n' if re.match(r'[A-Z0-9]\S*( \S+)+[.!?]$', text) else ''


def _counts(msg):
    "How far the progress bars in a cell's output are, such as 3/10: fastai's are HTML, tqdm's a widget whose value is HTML"
    data = msg['content'].get('data', {})
    if msg['msg_type'] == 'update_display_data': html = data.get('text/html', '')
    elif msg['msg_type'] == 'comm_msg': html = str(data.get('state', {}).get('value', ''))
    else:
        return ''
    return ', '.join(re.findall(r'\d+/\d+', html))


_RESET = """%reset -f
import gc, os
gc.collect()
os.chdir({cwd!r})
%reset -f
"""

class _Client(NotebookClient):
    "A notebook being run, with its progress in the terminal"
    def __init__(self, nb, name, noise, former, keep):
        specs = KernelSpecManager(kernel_dirs=[]) # so that it is this Python, whatever kernels are installed elsewhere
        super().__init__(nb, km=AsyncKernelManager(kernel_name='python3', kernel_spec_manager=specs), timeout=None,
                         record_timing=False, coalesce_streams=True, extra_arguments=['--log-level=CRITICAL'],
                         shutdown_kernel='immediate') # a Python that has imported fastai takes seconds to end by itself
        self.name,self.headings = name,list(_headings(nb))
        self.title = '' # what the bar says
        self.line = '' # printed text that has no line end yet
        self.at = None # index of the cell that runs
        self.unread = None # the error if nobody reads our output any more
        self.noise = noise # a file for stderr of its Python: why it doesn't start, and what libraries say at its end, such as ZeroMQ
        self.former,self.keep = former,keep # the client whose kernel it goes on with, if so; whether another goes on with its own
        self.bar = tqdm(total=sum(o.cell_type == 'code' for o in nb.cells), desc=name, disable=None, dynamic_ncols=True,
                        bar_format='{n_fmt:>3}/{total_fmt} |{bar:16}| {elapsed} {desc}')

    @asynccontextmanager
    async def async_setup_kernel(self, **kwargs):
        "As nbclient's, without its handler for Ctrl-C, which stops the kernel but leaves the run waiting for it"
        done = False
        try:
            if self.former:
                self.km,self.kc = self.former.km,self.former.kc
                await self.kc.execute_interactive(_RESET.format(cwd=str(kwargs['cwd'])), silent=True, store_history=False)
            else:
                await self.async_start_new_kernel(stderr=self.noise, **kwargs)
                await self.async_start_new_kernel_client()
            yield
            done = True
        finally:
            if self.km and not (done and self.keep): await self._async_cleanup_kernel() # None where it didn't start

    async def async_execute_cell(self, cell, cell_index, **kwargs):
        if cell.cell_type != 'code':
            return
        self._show(cell_index)
        try: await super().async_execute_cell(cell, cell_index, **kwargs)
        except DeadKernelError: # nbclient says so when we are cancelled, too
            if await self.km.is_alive(): raise asyncio.CancelledError from None
            raise
        finally: self._tell('\n' if self.line else '')
        self.bar.update()

    def process_message(self, msg, cell, cell_index):
        if counts := _counts(msg): self.bar.set_description_str(f'{self.title} ({counts})')
        out = super().process_message(msg, cell, cell_index)
        # Works around nbclient 0.11: an Output widget that answers on this socket can hide a reply that has already arrived, because
        # pyzmq's events are edge-triggered. Reading the events reveals it.
        self.kc.shell_channel.socket.get(zmq.EVENTS)
        return out

    def output(self, outs, msg, display_id, cell_index):
        self._tell(_readable(msg['content']))
        return super().output(outs, msg, display_id, cell_index)

    def _show(self, i):
        "Show what the cell at work does"
        title = f'{self.name}: {self.headings[i]}' if self.headings[i] else self.name
        if self.bar.disable and title != self.title: print(title)
        self.title,self.at = title,i
        self.bar.set_description_str(title)

    def _tell(self, text):
        "Show text above the bar, by whole lines"
        *lines,self.line = (self.line + text).split('\n')
        try:
            for o in lines: self.bar.write(f'  {o}')
        except BrokenPipeError as e: # nobody reads any more: nbclient would say so when the cell ends
            self.unread = e
            self.task.cancel()


async def _execute(client, cwd):
    "Run all cells, with the clock going while one is at work"
    async def tick():
        while True:
            await asyncio.sleep(1)
            client.bar.refresh()
    ticking,client.task = asyncio.create_task(tick()),asyncio.current_task()
    try:
        await client.async_execute(cwd=cwd)
        client.bar.set_description_str(client.name)
    except asyncio.CancelledError:
        if client.unread: raise client.unread from None
        raise
    finally:
        ticking.cancel()
        client.bar.close()


def _failure(client):
    "Where and why a run stopped, in plain words"
    if client.at is None:
        client.noise.seek(0)
        why = (client.noise.read().decode(errors='replace').splitlines() or ['nothing was said'])[-1]
        return f"{client.name} could not be started ({why}): run tellapart install learn, which brings what it needs"
    cells = client.nb.cells[:client.at+1]
    where = f"{client.name}, cell [{sum(o.cell_type == 'code' for o in cells)}] ({cells[-1].source.strip().splitlines()[0]})"
    error = next((o for o in cells[-1].outputs if o.output_type == 'error'), None)
    if not error:
        return f"{where}: its kernel died, usually because memory ran out; close other programs and run it again"
    # Our own errors say all in their sentence and come without a traceback.
    return f"{where}: " + (error.evalue if len(error.traceback) == 1 else f"{error.ename}: {error.evalue}")


_SET = '\n\n# set by tellapart run\n'

def _set_parameters(nb, values):
    "Set those of `values` that a notebook's cell with the tag `parameters` assigns; papermill knows such cells, too"
    for cell in nb.cells:
        if 'parameters' in cell.metadata.get('tags', []):
            names = re.findall(r'^(\w+) *=', cell.source, re.M)
            cell.source += _SET + '\n'.join(f'{k} = {v!r}' for k,v in values.items() if k in names)


def _unset(cell): cell.source = cell.source.partition(_SET)[0]


async def _run_one(file, copy, parameters, *kernel):
    "Run one notebook, leaving a copy with its outputs at `copy`; `kernel` is as `_Client` takes it"
    try: nb = nbformat.read(file, 4)
    except (OSError, ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError) as e: # whatever JSON or bytes it holds
        raise TellapartError(f"{file} can't be read as a notebook ({e}): restore it, or copy the course's again by "
                             "tellapart course DIR.") from None
    _set_parameters(nb, parameters)
    client = _Client(nb, file.stem, *kernel)
    try: await _execute(client, file.parent)
    except (CellExecutionError, RuntimeError): raise TellapartError(f"{_failure(client)}\nAll that it printed is in {copy}") from None
    finally:
        copy.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(nb, copy)
    return client


def _lighter(data):
    "An output with its picture as JPEG where that is smaller; of photos it is an eighth"
    if 'image/png' not in data:
        return data
    open_photo(b64decode(data['image/png']), limits=None).save(f := io.BytesIO(), 'JPEG', quality=85)
    jpeg = b64encode(f.getvalue()).decode()
    if len(jpeg) > len(data['image/png']):
        return {k: v for k,v in data.items() if k != 'image/jpeg'}
    return {k: v for k,v in data.items() if k != 'image/png'} | {'image/jpeg': jpeg}


_WIDGET = 'application/vnd.jupyter.widget-view+json'

def _only_widget(out):
    "Whether an output is a widget without a picture that stands for it"
    data = out.get('data', {})
    return _WIDGET in data and not any(o.startswith('image/') for o in data)


def _save(nb, file, root):
    "Write a notebook with its outputs as they may be committed: nothing in them that differs from run to run or from machine to machine"
    nb.metadata.pop('widgets', None)
    for o in nb.cells:
        if o.cell_type == 'code':
            _unset(o)
            o.outputs = [out for out in o.outputs if out.get('name') != 'stderr' and not _only_widget(out)]
            for out in o.outputs:
                if 'data' in out: out.data = _lighter({k: v for k,v in out.data.items() if k != _WIDGET})
    folder,sep = json.dumps(str(root))[1:-1], json.dumps(os.sep)[1:-1]
    file.write_text(nbformat.writes(nb).replace(folder + sep, '').replace(folder, '.'), 'utf-8')
    with working_directory(root): nbdev_clean(str(file))


def _find(name, folder):
    "The notebook called `name`"
    for o in (Path(name), folder/name, folder/f'{name}.ipynb'):
        if o.is_file():
            return o.absolute()
    raise TellapartError(f"There is no notebook {name}; the course has {', '.join(o.stem for o in sorted(folder.glob('0*.ipynb')))}")


async def _run_all(files, p, parameters, done):
    "Run notebooks, each in a fresh kernel, or for a rehearsal, which is to be quick, all in one; `done` takes each with its file"
    client = None
    with TemporaryFile() as noise:
        for file in files:
            former,keep = client if p.rehearse else None, p.rehearse and file != files[-1]
            client = await _run_one(file, p.runs/'notebooks'/file.name, parameters, noise, former, keep)
            done(client.nb, file)


def run(
    notebooks:Sequence[str], # Files, or names such as 03_train; the course from gather to export if there are none
    p:Project, # The project that they are about
    save:bool=False, # Whether to write the outputs into the notebooks
)->None: # Raises `TellapartError` at the first cell that fails
    "Run notebooks top to bottom, and tell what was found"
    root = course(p.file.parent, Path.cwd())
    files = [_find(o, root/'notebooks') for o in notebooks] or sorted((root/'notebooks').glob('0[1-5]_*.ipynb'))
    if save and any(o.is_relative_to(PACKED) for o in files):
        raise TellapartError("--save writes into the course's notebooks, and those inside the package stay as they are: copy them by "
                             "tellapart course DIR, and run it there.")
    if isinstance(sys.stdout, io.TextIOWrapper): sys.stdout.reconfigure(line_buffering=True) # to be read as it comes, also through a pipe
    prepare_kernels()
    os.environ['TELLAPART_PROJECT'] = str(p.file) # for notebooks without parameters, and commands in them
    parameters = dict(project=str(p.file), rehearse=p.rehearse, unattended=True)
    clear_summary(p)
    def done(nb, file):
        if save: _save(nb, file, root)
    asyncio.run(_run_all(files, p, parameters, done))
    if told := summary(p): print('', *told.values(), sep='\n')
