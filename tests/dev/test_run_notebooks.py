"Running notebooks: what is told, what is kept, and what is left alone"
import json, os, shutil, signal, subprocess, sys
from pathlib import Path
from sysconfig import get_path
import pytest
from notebooks import write_notebook

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.long


@pytest.fixture
def folder(tmp_path):
    "A folder with a project"
    (tmp_path/'tellapart.toml').write_text('name = "pets"\nsource = "demo"\n[labels]\ncat = "cat"\ndog = "dog"\n')
    return tmp_path


def start(folder, *args, **env):
    return subprocess.Popen([sys.executable, '-m', 'tellapart', 'run', *args], cwd=folder, env=os.environ | env, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(folder, *args, **env):
    p = start(folder, *args, **env)
    out,err = p.communicate()
    return p.returncode, out, err


def test_tells_what_happens_and_leaves_the_notebook_alone(folder):
    before = write_notebook(folder/'a.ipynb', '# Gather photos', 'import os, sys\nprint("Python:", sys.executable)', '# Count them',
        'print("one\\ntw", end="")\nprint("o")',
        '"There were 42 photos."', 'import pandas; pandas.DataFrame({"a column": [1]})', 'print(os.environ["TELLAPART_PROJECT"])')
    kernels = folder/'share/kernels/python3' # another Python that calls itself python3
    kernels.mkdir(parents=True)
    (kernels/'kernel.json').write_text(json.dumps(dict(argv=['false', '{connection_file}'], display_name='mine', language='python')))
    code,out,err = run(folder, 'a.ipynb', JUPYTER_PATH=str(folder/'share'), JUPYTER_PREFER_ENV_PATH='0')
    assert (code, err) == (0, '')
    assert out.splitlines()[:7] == ['a: Gather photos', f'  Python: {sys.executable}', 'a: Count them', '  one', '  two',
                                    '  There were 42 photos.', f'  {folder/"tellapart.toml"}']
    assert (folder/'a.ipynb').read_bytes() == before
    assert '42' in (folder/'data/pets/runs/notebooks/a.ipynb').read_text()


def test_notebooks_find_the_command(folder):
    "Also where the environment isn't activated"
    write_notebook(folder/'a.ipynb', 'import shutil\nprint("It is", shutil.which("tellapart"))')
    code,out,err = run(folder, 'a.ipynb', PATH=os.defpath)
    assert (code, err) == (0, '') and f"It is {shutil.which('tellapart', path=get_path('scripts'))}" in out


def test_parameters(folder):
    "Those that a notebook has are set, in the run alone"
    before = write_notebook(folder/'a.ipynb', 'print("It is", project, rehearse)', parameters='project = None # a file\nrehearse = False')
    for args,rehearse in ([], False), (['--rehearse'], True):
        code,out,err = run(folder, 'a.ipynb', *args)
        assert (code, err) == (0, '') and f"It is {folder/'tellapart.toml'} {rehearse}" in out
    assert run(folder, 'a.ipynb', '--save')[0] == 0
    old,new = (json.loads(o)['cells'] for o in (before, (folder/'a.ipynb').read_bytes()))
    assert [o['source'] for o in old] == [''.join(o['source']) for o in new] and new[1]['outputs']


@pytest.mark.long
def test_pictures_are_shown_after_ours(folder):
    "A figure of matplotlib is shown in a notebook, also where the first ones were drawn by a report and by the funnel"
    pytest.importorskip('fastai')
    write_notebook(folder/'a.ipynb', """from tellapart.gather.funnel import funnel
from tellapart.project import read_project
from tellapart.train.report import draw_svg
svg = draw_svg(lambda ax: ax.plot([1, 2]), 3)
funnel(read_project())""", 'import matplotlib.pyplot as plt\nplt.plot([1, 2]);')
    assert run(folder, 'a.ipynb', '--save')[0] == 0
    for cell in json.loads((folder/'a.ipynb').read_bytes())['cells']:
        assert {'image/png', 'image/jpeg'} & {k for o in cell['outputs'] for k in o.get('data', {})}


@pytest.mark.parametrize('args, alike', [(['--rehearse'], 1), ([], 2)])
def test_notebooks_know_nothing_of_each_other(folder, args, alike):
    "In a rehearsal they share a Python, which saves imports, but no names; otherwise each has its own"
    for name in 'a', 'sub/b': write_notebook(folder/f'{name}.ipynb', 'import os\nprint("In", os.getpid(), os.path.basename(os.getcwd()))',
                                             'print("Was left:", "left" in globals())\nleft = 1')
    code,out,err = run(folder, 'a.ipynb', 'sub/b.ipynb', *args)
    assert (code, err) == (0, '') and out.count('Was left: False') == 2
    places = [o.split()[1:] for o in out.splitlines() if o.startswith('  In ')]
    assert len({pid for pid,_ in places}) == alike and [o for _,o in places] == [folder.name, 'sub']


def test_rehearsal_and_summary(folder):
    parameters = 'project = None\nrehearse = False'
    read = 'from tellapart.project import add_summary, read_project\np = read_project(project, rehearse)'
    found = 'add_summary(p, gather="Found 7 photos.")\nadd_summary(p, train="Wrong on 3 % of them.")'
    write_notebook(folder/'a.ipynb', read, found, parameters=parameters)
    code,out,err = run(folder, 'a.ipynb', '--rehearse')
    assert (code, err) == (0, '') and out.endswith('\nFound 7 photos.\nWrong on 3 % of them.\n')
    assert (folder/'data/pets-rehearsal/summary.json').exists() and not (folder/'data/pets').exists()
    write_notebook(folder/'b.ipynb', read, 'add_summary(p, clean="Nothing to do.")', parameters=parameters)
    code,out,err = run(folder, 'b.ipynb', '--rehearse')
    assert (code, err) == (0, '') and out.count('Nothing to do.') == 2 and 'Found 7' not in out # which an older run has found


@pytest.mark.parametrize('cell, words', [('1/0', 'ZeroDivisionError: division by zero'), ('import os; os._exit(1)', 'memory'),
    ('from tellapart.errors import TellapartError; raise TellapartError("x is empty; get it again.")', ': x is empty; get it again.')])
def test_stops_at_the_first_failing_cell(folder, cell, words):
    write_notebook(folder/'a.ipynb', '# Start', 'print("fine")', cell, 'print("never")')
    write_notebook(folder/'b.ipynb', 'print("never")')
    code,out,err = run(folder, 'a.ipynb', 'b.ipynb')
    assert code == 1 and 'fine' in out and 'never' not in out
    assert err.startswith(f'tellapart: a, cell [2] ({cell}): ') and words in err and 'Traceback' not in err
    assert 'fine' in (folder/'data/pets/runs/notebooks/a.ipynb').read_text()


def test_a_python_that_does_not_start(folder):
    "Its last words are the reason"
    write_notebook(folder/'a.ipynb', 'print("never")')
    (folder/'broken').mkdir()
    (folder/'broken/ipykernel_launcher.py').write_text('raise ImportError("no kernel today")')
    code,out,err = run(folder, 'a.ipynb', PYTHONPATH=str(folder/'broken'))
    assert code == 1 and 'never' not in out
    assert err.startswith('tellapart: a could not be started (ImportError: no kernel today): run tellapart install learn')
    assert 'Traceback' not in err


def test_what_libraries_say_at_the_end(folder):
    "The last words of a kernel are no part of what is told"
    write_notebook(folder/'a.ipynb', 'print("done")')
    (folder/'chatty').mkdir()
    (folder/'chatty/sitecustomize.py').write_text('import atexit, os, sys\nif "ipykernel_launcher" in " ".join(sys.orig_argv): '
                                                  'atexit.register(os.write, os.dup(2), b"Assertion failed\\n")')
    code,out,err = run(folder, 'a.ipynb', PYTHONPATH=str(folder/'chatty'))
    assert (code, err) == (0, '') and 'done' in out


def test_saved_outputs_are_clean(folder):
    import nbformat # which takes seconds
    write_notebook(folder/'a.ipynb', 'from tqdm.auto import tqdm\nfor o in tqdm(range(2)): print(o)',
        'import sys, tellapart\nprint(tellapart.__file__); print("noise", file=sys.stderr)\nobject()',
        'import ipywidgets\nwith ipywidgets.Output() as out: print("in a widget")\nout',
        'from PIL import Image\nImage.effect_noise((300, 300), 50).convert("RGB")')
    assert run(folder, 'a.ipynb', '--save')[0] == 0
    saved = (folder/'a.ipynb').read_bytes()
    nb = nbformat.reads(saved.decode(), 4)
    nbformat.validate(nb)
    first,second,third,fourth = (o.outputs for o in nb.cells)
    assert [o.text for o in first] == ['0\n1\n']
    assert (second[0].text.replace(os.sep, '/'), second[1].data['text/plain']) == ('tellapart/__init__.py\n', '<object>')
    assert third == []
    assert {'image/jpeg', 'image/png'} & set(fourth[0].data) == {'image/jpeg'} # of a photo, the smaller
    assert not any(o.metadata or o.execution_count for o in nb.cells) and 'widgets' not in nb.metadata
    code = 'import sys; from nbdev.clean import nbdev_clean; nbdev_clean(sys.argv[1])'
    subprocess.run([sys.executable, '-c', code, folder/'a.ipynb'], cwd=ROOT, check=True)
    assert (folder/'a.ipynb').read_bytes() == saved


@pytest.mark.skipif(sys.platform == 'win32', reason="a process can't be sent Ctrl-C alone on Windows")
def test_ctrl_c_stops_the_kernel_too(folder, ctrl_c):
    before = write_notebook(folder/'a.ipynb', 'import os, time\nprint(os.getpid())\ntime.sleep(600)')
    p = start(folder, 'a.ipynb', '--save')
    p.stdout.readline()
    kernel = int(p.stdout.readline())
    p.send_signal(signal.SIGINT)
    out,err = p.communicate(timeout=60)
    assert (p.returncode, err) == (130, 'tellapart: Stopped.\n')
    with pytest.raises(ProcessLookupError): os.kill(kernel, 0)
    assert (folder/'a.ipynb').read_bytes() == before


def test_output_widgets_do_not_hang_a_run(folder): # with nbclient alone one cell in twenty like this never ends
    cell = 'import ipywidgets\nfor out in [ipywidgets.Output() for _ in range(10)]:\n    with out: print("inside")'
    write_notebook(folder/'a.ipynb', *[cell]*40)
    p = start(folder, 'a.ipynb')
    try: assert p.wait(120) == 0
    finally: p.terminate()


def test_what_is_no_notebook(folder):
    (folder/'a.ipynb').write_text('<html>')
    (folder/'b.ipynb').write_text('[]')
    (folder/'photo.jpg').write_bytes(b'\xff\xd8\xff')
    for name,words in ('99_nothing', '01_gather'), *((o, "can't be read as a notebook") for o in ('a.ipynb', 'b.ipynb', 'photo.jpg')):
        code,out,err = run(folder, name)
        assert (code, out) == (1, '') and words in err and err.count('\n') == 1
