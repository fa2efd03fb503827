"Output on consoles of any encoding, into closed pipes and onto full disks"
import io, json, os, shutil, subprocess, sys
from functools import partial
import pytest
from exports import change_meta, rewrite
from tellapart.cli import main
from tellapart.use.sort.journal import CSV

LABELS = ['犬', 'æble', '🍐'] # cp1252 has only the æ


@pytest.fixture
def odd(export_pkl, tmp_path):
    "An export with labels that few encodings have, and a folder of photos with such names"
    folder = tmp_path/'写真'
    folder.mkdir()
    for i,o in enumerate(sorted(export_pkl.parent.glob('photos/*/*'))[:6]): shutil.copy(o, folder/f'鳥-{i}{o.suffix}')
    (folder/'壊れ.jpg').write_text('gone')
    return rewrite(export_pkl, tmp_path/'odd.pkl', change_meta(labels=LABELS)),folder


@pytest.fixture(params=['cp1252', 'ascii', 'utf-8'])
def console(request, monkeypatch):
    "A function that runs a command on a console with this encoding, and returns the output"
    def run(*args, status=0):
        out,err = (io.TextIOWrapper(io.BytesIO(), encoding=request.param, write_through=True) for _ in range(2))
        with monkeypatch.context() as m:
            m.setattr(sys, 'stdout', out)
            m.setattr(sys, 'stderr', err)
            assert main([str(o) for o in args]) == status
        return out.buffer.getvalue().decode(request.param)
    run.shown = lambda text: text.encode(request.param, 'backslashreplace').decode(request.param)
    return run


def test_characters_that_the_console_lacks(odd, console, tmp_path):
    "Every command that prints names and labels works, and prints escapes for characters that the encoding lacks"
    (export,folder),to = odd,tmp_path/'並べた'
    photos = sorted(folder.iterdir())
    out = console('classify', *photos, '--export', export)
    assert console.shown('鳥-0') in out and any(console.shown(o) in out for o in LABELS) and out.count('\n') == 8
    assert len([json.loads(o) for o in console('classify', '--json', *photos, '--export', export).splitlines()]) == 7
    assert 'Nothing was done' in console('sort', folder, '--to', to, '--export', export, '--dry-run')
    assert console.shown(f'into {to}') in console('sort', folder, '--to', to, '--export', export)
    assert console.shown(str(to)) in console('undo', to)
    console('undo', to, status=1)


def test_new_labels(console, tmp_path, monkeypatch):
    pytest.importorskip('fastai')
    monkeypatch.chdir(tmp_path)
    assert console.shown('projects/果物.toml'.replace('/', os.sep)) in console('new', '果物', '林檎', '梨')


def test_a_process_with_another_encoding(odd):
    "As on Windows when the output goes to a file"
    export,folder = odd
    for encoding in 'cp1252', 'ascii':
        done = subprocess.run([sys.executable, '-m', 'tellapart', 'classify', '--export', export, *folder.iterdir()],
                              capture_output=True, env=os.environ | dict(PYTHONIOENCODING=encoding))
        assert (done.returncode, done.stderr) == (0, b'') and rb'\u9ce5-0' in done.stdout


def close_early(*args, lines, unbuffered):
    "Run a command, read some lines of its output and close the pipe; returns its exit status and stderr"
    with subprocess.Popen([sys.executable, '-m', 'tellapart', *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, encoding='utf-8', env=os.environ | dict(PYTHONUNBUFFERED=unbuffered)) as p:
        for _ in range(lines): assert p.stdout.readline()
        p.stdout.close()
        return p.wait(60),p.stderr.read()


@pytest.mark.parametrize('unbuffered', ['', '1'], ids=['buffered', 'unbuffered'])
@pytest.mark.skipif(os.name == 'nt', reason="Windows reports a closed pipe differently")
def test_a_reader_that_stops(odd, tmp_path, unbuffered):
    "As with `tellapart classify *.jpg | head -2`: the command ends without a message"
    (export,folder),run = odd,partial(close_early, unbuffered=unbuffered)
    photos = [*folder.iterdir(), *[next(folder.glob('鳥*'))]*50]
    assert run('classify', '--export', export, *photos, lines=2) == (141, '')
    assert run('--help', lines=0) in ((141, ''), (0, '')) # argparse ignores the error if nothing is buffered
    status,err = run('sort', folder, '--to', tmp_path/'sorted', '--export', export, lines=0) # stderr has its progress bar
    assert status == 141 and not any(o in err for o in ('Traceback', 'Broken', 'Exception', 'tellapart:')), err
    assert (tmp_path/'sorted'/CSV).exists() and not (tmp_path/'sorted/.sorted.part').exists()


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason="only Linux has /dev/full")
@pytest.mark.parametrize('unbuffered', ['', '1'], ids=['buffered', 'unbuffered'])
def test_a_full_disk_is_reported(odd, unbuffered):
    "As with `tellapart classify photo.jpg > labels.txt`"
    export,folder = odd
    for args in ['--help'], ['classify', next(folder.glob('鳥*')), '--export', export]:
        with open('/dev/full', 'w') as full:
            done = subprocess.run([sys.executable, '-m', 'tellapart', *map(str, args)], stdout=full, stderr=subprocess.PIPE, text=True,
                                  env=os.environ | dict(PYTHONUNBUFFERED=unbuffered))
        if args == ['--help'] and unbuffered: continue # argparse ignores the error
        assert (done.returncode, done.stderr) == (1, "tellapart: The output can't be written: No space left on device.\n")


@pytest.mark.long
@pytest.mark.skipif(os.name == 'nt', reason="Windows reports a closed pipe differently")
def test_a_run_whose_output_is_closed_ends_with_its_kernel(tmp_path):
    pytest.importorskip('fastai')
    from notebooks import write_notebook
    (tmp_path/'tellapart.toml').write_text('name = "pets"\nsource = "demo"\n[labels]\ncat = "cat"\ndog = "dog"\n')
    endless = 'for i in range(10**6): print("Line", i, flush=True); time.sleep(.01)'
    write_notebook(tmp_path/'a.ipynb', 'import os, time\nprint("Python:", os.getpid())', endless)
    with subprocess.Popen([sys.executable, '-m', 'tellapart', 'run', 'a.ipynb'], cwd=tmp_path,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        while 'Python:' not in (line := p.stdout.readline()): assert line
        p.stdout.close()
        try: assert p.wait(60) == 141
        finally: p.terminate()
        assert not any(o in (err := p.stderr.read()) for o in ('Traceback', 'Broken', 'Exception', 'tellapart:')), err
    with pytest.raises(ProcessLookupError): os.kill(int(line.split()[-1]), 0)


def test_status(odd, tmp_path, capsys):
    "0 if any photo could be classified, 1 if none"
    export,folder = odd
    good,bad = next(folder.glob('鳥*')),folder/'壊れ.jpg'
    for photos,status in ([good], 0), ([bad, good], 0), ([bad], 1), ([bad, bad], 1):
        for more in [], ['--json']:
            assert main(['classify', *map(str, photos), '--export', str(export), *more]) == status
            out,err = capsys.readouterr()
            header = 0 if more else 1
            assert len(out.splitlines()) == len(photos) + header and err.startswith('tellapart: None of') == status
