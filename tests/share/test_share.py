"The command `tellapart share`, and the folders that it writes for each host; and `tellapart doctor`, which tries them"
import json, os, re, shutil, subprocess, sys, zipfile
from pathlib import Path
import httpx, pytest
from exports import FORMAT_4, change_meta, rewrite
from tellapart.cli import main
from tellapart.errors import TellapartError
from tellapart.machine import program
from tellapart.share import HOSTS, share
from tellapart.share.doctor import check_folder
from tellapart.share.page import RUNTIME, RUNTIME_FILES, SITES, page_files, runtime_files
from tellapart.use.classifier import read_meta
from webapp import ask, served

SERVERS = sorted(HOSTS.keys() - {'page'})


@pytest.mark.parametrize('name', SERVERS)
def test_each_host(name, tmp_path):
    "A folder with the app and the model, without photos, paths of this machine or the name tellapart to be installed; a rerun updates it"
    shared = share(name, tmp_path/'out', FORMAT_4, 'me/fruits')
    there = {o.relative_to(tmp_path/'out').as_posix() for o in (tmp_path/'out').rglob('*') if o.is_file()}
    assert {'export.pkl', 'app.ipynb', 'requirements.txt', 'README.md', 'tellapart/serve/server.py'} <= there
    assert shared.link.startswith('https://') and shared.steps and 'tellapart' not in (tmp_path/'out/requirements.txt').read_text()
    text = b''.join((tmp_path/'out'/o).read_bytes() for o in there if not o.startswith('tellapart/'))
    assert str(Path.home()).encode() not in text or Path.home() == Path('/')
    (tmp_path/'out/requirements.txt').write_text('changed')
    (tmp_path/'out/mine.txt').write_text('kept')
    share(name, tmp_path/'out', FORMAT_4, 'me/fruits')
    assert 'voila==' in (tmp_path/'out/requirements.txt').read_text() and (tmp_path/'out/mine.txt').read_text() == 'kept'


def test_each_has_its_form(tmp_path):
    "What each host reads is in the form that it reads"
    binder = share('binder', tmp_path/'binder', FORMAT_4, 'me/fruits')
    assert binder.link == 'https://mybinder.org/v2/gh/me/fruits/HEAD?urlpath=voila%2Frender%2Fapp.ipynb'
    assert f'](https://mybinder.org/badge_logo.svg)]({binder.link})' in (tmp_path/'binder/README.md').read_text()
    assert re.fullmatch(r'python-3\.\d+', (tmp_path/'binder/runtime.txt').read_text().strip()) # Binder refuses a third number
    assert json.loads((tmp_path/'binder/jupyter_config.json').read_text())['VoilaConfiguration']['show_tracebacks'] is False
    heroku = share('heroku', tmp_path/'heroku', FORMAT_4, 'me/Fruits_of.2026')
    assert 'heroku create fruits-of-2026' in heroku.steps
    assert re.fullmatch(r'3\.\d+', (tmp_path/'heroku/.python-version').read_text().strip())
    assert (tmp_path/'heroku/Procfile').read_text().startswith('web: python -m tellapart serve --ip 0.0.0.0 --port $PORT')
    share('docker', tmp_path/'docker', FORMAT_4)
    lines = (tmp_path/'docker/Dockerfile').read_text().splitlines()
    assert lines[0].startswith('FROM python:3.') and lines.index('USER 1000') < next(i for i,o in enumerate(lines) if o.startswith('CMD'))
    linter = program('hadolint')
    if linter:
        done = subprocess.run([linter, tmp_path/'docker/Dockerfile'], capture_output=True, text=True)
        assert not done.returncode, done.stdout
    yaml = pytest.importorskip('yaml')
    service, = yaml.safe_load((tmp_path/'docker/render.yaml').read_text())['services']
    assert (service['type'], service['runtime'], service['healthCheckPath']) == ('web', 'docker', '/healthz')
    front = yaml.safe_load((tmp_path/'docker/README.md').read_text().split('---')[1])
    assert (front['sdk'], front['app_port']) == ('docker', 7860) and 'paid plan' in ' '.join(HOSTS['docker'].cost.split())


@pytest.mark.training
@pytest.mark.parametrize('site,file', [('github', '.github/workflows/page.yml'), ('cloudflare', '_headers'), ('netlify', '_headers'),
                                       ('space', 'README.md')])
def test_a_site_gets_what_it_needs(tmp_path, small_export, runtime, site, file):
    shared = share('page', tmp_path/'out', small_export, 'me/fruits', site=site)
    text = (tmp_path/'out'/file).read_text()
    assert 'fruits' in shared.link and site in SITES
    if site == 'github': assert 'deploy-pages' in text and (tmp_path/'out/.nojekyll').exists()
    else: assert 'cross-origin-opener-policy: same-origin' in text.lower()


def test_what_cannot_be_shared_is_said(tmp_path, capsys, monkeypatch):
    "In one sentence, without touching anything"
    (tmp_path/'mine').mkdir()
    (tmp_path/'mine/photo.jpg').write_bytes(b'')
    for args,said in [(['binder', tmp_path/'mine'], 'has files that tellapart didn\'t write (photo.jpg)'),
                      (['binder', tmp_path/'out', '--repo', 'fruits'], 'is no repository on GitHub'),
                      (['binder', tmp_path/'out', '--for', 'github'], 'Only a page has --for'),
                      (['space', tmp_path/'out'], "There is no host 'space'"), (['binder'], 'Into which folder?'),
                      (['page', tmp_path/'out', '--runtime', tmp_path/'mine/photo.jpg'], 'of npm')]:
        assert main(['share', *map(str, args), '--export', str(FORMAT_4)]) == 1
        assert said in capsys.readouterr().err and not (tmp_path/'out').exists()
    assert main(['share', 'binder', str(tmp_path/'out'), '--export', str(tmp_path/'none.pkl')]) == 1
    assert "isn't there" in capsys.readouterr().err and (tmp_path/'mine/photo.jpg').exists()
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path/'cache'))
    monkeypatch.setattr(shutil, 'which', lambda *_: None)
    with pytest.raises(TellapartError, match=f'needs {RUNTIME}, and there is no npm here'): runtime_files()


def test_labels_are_only_text(tmp_path):
    "Whatever a label is called, no markup comes of it, and a host's name stays one"
    labels = ['<script>alert(1)</script>', 'a/b:c"', "O'Neill & sons"][:len(read_meta(FORMAT_4)['labels'])]
    changed = rewrite(FORMAT_4, tmp_path/'export.pkl', change_meta(labels=labels))
    share('docker', tmp_path/'out', changed, 'me/my.App_2')
    found = page_files(changed, dict.fromkeys(RUNTIME_FILES, b''))
    html = found['index.html'].decode()
    assert '<script>alert' not in html and html.count('</script>') == 2
    model = json.loads(re.search(r'id="model">(.*?)</script>', html, re.S)[1])
    assert model['meta']['labels'] == labels and not any(set('<>:"/') & set(o) for o in model['folders'].values())


def test_too_large_for_a_host(tmp_path, capsys):
    with zipfile.ZipFile(FORMAT_4) as old, zipfile.ZipFile(tmp_path/'export.pkl', 'w') as new:
        for o in old.infolist(): new.writestr(o.filename, old.read(o))
        new.writestr(f'{old.namelist()[0].split("/")[0]}/data/999', bytes(101*10**6))
    assert main(['share', 'binder', str(tmp_path/'out'), '--export', str(tmp_path/'export.pkl')]) == 1
    assert re.search(r'export.pkl has 101 MB, and binder takes 100 at most', capsys.readouterr().err) and not (tmp_path/'out').exists()


@pytest.mark.skipif(os.name == 'nt', reason="Windows has no such limit")
def test_a_disk_that_fills(tmp_path):
    "One sentence, and no half of a file; the next run finishes"
    command = f'{sys.executable} -m tellapart share heroku out --export {FORMAT_4}'
    full = subprocess.run(['sh', '-c', f'ulimit -f 20; exec {command}'], cwd=tmp_path, capture_output=True, text=True)
    assert full.returncode == 1 and full.stderr.strip().splitlines()[-1].startswith('tellapart: ') and 'Traceback' not in full.stderr
    assert subprocess.run(['sh', '-c', command], cwd=tmp_path, capture_output=True).returncode == 0
    assert not list((tmp_path/'out').rglob('*.part')) and (tmp_path/'out/export.pkl').read_bytes() == FORMAT_4.read_bytes()


def test_the_table_of_hosts(capsys):
    assert main(['share', '--export', str(FORMAT_4)]) == 0
    said = capsys.readouterr().out
    assert said.startswith('page: ') and all(f'\n{o}: ' in said for o in SERVERS) and 'As of 20' in said
    assert said.count('yours') == len(HOSTS)


@pytest.mark.training
def test_doctor_on_a_page(page_folder, tmp_path, capsys):
    "A page that is whole passes; one with a file missing or damaged, or with a key in it, fails"
    assert check_folder(page_folder)
    shutil.copytree(page_folder, tmp_path/'copy')
    (tmp_path/'copy/weights.bin').write_bytes(b'short')
    (tmp_path/'copy/notes.md').write_text('password: ghp_' + 'a'*36)
    assert not check_folder(tmp_path/'copy')
    said = capsys.readouterr().out
    assert re.search(r'failed +model', said) and re.search(r'failed +secrets +notes.md', said)
    (tmp_path/'copy/sort.js').unlink()
    assert not check_folder(tmp_path/'copy') and "sort.js isn't there" in capsys.readouterr().out


def test_doctor_on_broken_folders(tmp_path, capsys):
    "Each fault with its cure, and nothing is started"
    share('heroku', tmp_path/'app', FORMAT_4, 'me/fruits')
    (tmp_path/'app/export.pkl').write_bytes((tmp_path/'app/export.pkl').read_bytes()[:5000])
    (tmp_path/'app/requirements.txt').write_text('voila\ntorch==2.14.1\n')
    (tmp_path/'app/.python-version').unlink()
    (tmp_path/'app/runtime.txt').write_text('python-3.11.7')
    (tmp_path/'app/README.md').write_text('https://mybinder.org/v2/gh/me/fruits/HEAD?filepath=app.ipynb')
    assert main(['doctor', str(tmp_path/'app')]) == 1
    said = capsys.readouterr().out
    for o in ['export.pkl', 'requirements.txt', 'Python', 'link']: assert re.search(rf'failed +{re.escape(o)} ', said), said
    assert "not tried" in said and main(['doctor', str(tmp_path/'none')]) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == 'nt', reason="hosts run Linux")
def test_doctor_starts_the_app(tmp_path, capsys):
    "From the folder alone, in a fresh environment: it answers on $PORT, classifies, and fits"
    share('docker', tmp_path/'app', FORMAT_4, 'me/fruits')
    found = check_folder(tmp_path/'app')
    said = capsys.readouterr().out
    assert found, said
    for o in ['compressed size', 'start', 'a photo', 'memory']: assert re.search(rf'passed +{o} ', said), said
    size,memory = (int(re.search(rf'{o} +(\d+) of', said)[1]) for o in ('compressed size', 'memory'))
    assert size < 150 and memory < 300


@pytest.mark.long
def test_doctor_on_this_machine(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['doctor']) == 0
    said = capsys.readouterr().out
    assert re.search(r'passed +torch +torch .* are a pair', said) and re.search(r'warned +project', said)


def test_binder_shows_the_app(browser, export_pkl, tmp_path, free_port):
    "In a Jupyter server, with the folder as its own: the link's address shows the app, and a photo is answered"
    share('binder', tmp_path/'repo', export_pkl, 'me/fruits')
    command = [sys.executable, '-m', 'jupyter', 'server', '--no-browser', '--allow-root', f'--port={free_port}',
               '--ServerApp.port_retries=0', '--IdentityProvider.token=', '--ServerApp.disable_check_xsrf=True']
    at = f'http://localhost:{free_port}'
    env = dict(PYTHONPATH=str(tmp_path/'repo'), TELLAPART_PROJECT='', JUPYTER_PREFER_ENV_PATH='1')
    with served(command, f'{at}/api', tmp_path/'repo', env):
        assert httpx.get(f'{at}/api').status_code == 200
        page = browser.new_page()
        page.goto(f'{at}/voila/render/app.ipynb', timeout=60_000)
        page.wait_for_selector('.ta-upload', timeout=60_000)
        card, = ask(page, [next(export_pkl.parent.glob('photos/tennis/*'))])
        page.close()
    assert card[-6] == 'tennis'


def test_the_command_says_what_it_wrote(tmp_path):
    command = [sys.executable, '-m', 'tellapart', 'share', 'binder', 'out', '--export', FORMAT_4]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    n = int(re.search(r'Wrote ([\d,]+) files', done.stdout)[1].replace(',', ''))
    assert done.returncode == 0 and n == len([o for o in (tmp_path/'out').rglob('*') if o.is_file()]) - 1 # its own list
