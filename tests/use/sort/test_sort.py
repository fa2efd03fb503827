"Sorting a folder as its owner would: what goes where, what is skipped, kills, and undo"
import csv, hashlib, json, ntpath, os, random, shutil, signal, sqlite3, subprocess, sys, tempfile
from collections import Counter
from pathlib import Path, PureWindowsPath
import pytest
from PIL import Image
from exports import change_meta, rewrite
from tellapart.cli import main
from tellapart.use.sort import sort as module
from tellapart.use.sort.journal import CSV, Journal, read_rows
from tellapart.use.classifier import Classifier
from tellapart.paths import canonical_name, safe_name
from tellapart.use.sort.layout import LAYOUTS, folder_for, label_folders

posix = pytest.mark.skipif(os.name == 'nt', reason="Windows has no such thing")
SHM = Path('/dev/shm')
EMPTY = hashlib.sha256().hexdigest() # of a reserved name


@pytest.fixture
def folder(export_pkl, tmp_path):
    "Photos in the folders of three projects, among other files"
    folder = tmp_path/'projects'
    for o in 'smith/hall', 'jones', 'Übung', '.cache': (folder/o).mkdir(parents=True)
    classify = Classifier(export_pkl)
    photos = [o for o in sorted(export_pkl.parent.glob('photos/*/*')) if classify(o).confident][:9]
    for i,o in enumerate(photos): shutil.copy2(o, folder/['smith/hall', 'jones', 'Übung'][i % 3]/f'{"AB"[i % 2]}{i//3}{o.suffix}')
    for i,o in enumerate(sorted(folder.rglob('*.*g'))): os.utime(o, ns=(10**18 + i, 10**18 + 10**10*i))
    shutil.copy(photos[0], folder/'smith/the same again.png')
    shutil.copy(photos[0], folder/'.cache')
    (folder/'jones/notes.txt').write_text('to do')
    (folder/'jones/broken.jpg').write_bytes(b'\xff\xd8\xff gone')
    if os.name != 'nt': (folder/'jones/round').symlink_to(folder)
    return folder


def sort(export_pkl, folder, to, *more): return main(['sort', str(folder), '--to', str(to), '--export', str(export_pkl), *more])


def table(to):
    "The rows of a table, each a dict"
    with open(to/CSV, newline='', encoding='utf-8-sig', errors='surrogateescape') as f:
        return list(csv.DictReader(f))


def content(folder):
    "Hashes of the files in a folder, by relative path; links are followed"
    ours = '.csv', '.html', '.part'
    files = (o for o in folder.rglob('*') if o.is_file() and not o.name.startswith('.sorted') and o.suffix not in ours)
    return {o.relative_to(folder).as_posix(): hashlib.sha256(o.read_bytes()).hexdigest() for o in files}


def placed(to): return content(to)


def refused(capsys, *words):
    "Check that the error message is one sentence with these words"
    said = [o for o in capsys.readouterr().err.splitlines() if o.startswith('tellapart: ')]
    assert len(said) == 1 and all(o in said[0] for o in words), said


def test_copies_go_by_label(export_pkl, folder, tmp_path, capsys):
    "Each photo is copied, times included, into the folder of its predicted label; originals are unchanged; the table lists all"
    before,to = content(folder),tmp_path/'sorted'
    assert sort(export_pkl, folder, to) == 0
    out = capsys.readouterr().out
    assert 'Copied 9 photos' in out and f'tellapart undo {to}' in out
    assert all(o in out for o in ('1 with the content of another', "1 that can't be opened", '1 of another kind', '1 hidden'))
    assert content(folder) == before
    classify = Classifier(export_pkl)
    rows = table(to)
    went = [o for o in rows if o['to']]
    assert len(rows) == 11 and len(went) == len(placed(to)) == 9
    for o in went:
        prediction,copy = classify(o['path']),to/o['to']
        assert (o['label'], o['confident'], o['second']) == (prediction.label, 'yes', prediction.ranked[1][0])
        assert abs(float(o['probability']) - prediction.probability) < 1e-3 and o['to'].startswith(f'{prediction.label}/')
        assert copy.read_bytes() == Path(o['path']).read_bytes() and copy.stat().st_mtime_ns == os.stat(o['path']).st_mtime_ns
    same, = [o for o in rows if o['sha256'] and not o['to']]
    assert same['reason'].startswith('Its content is in ')
    broken, = [o for o in rows if not o['label']]
    assert broken['path'].endswith('broken.jpg') and 'broken' in broken['reason']


def test_thumbnails_of_photo_servers_are_skipped(tmp_path):
    for o in '@eaDir', '.thumbnails', '#recycle', '__MACOSX', 'album': (tmp_path/o).mkdir()
    for o in tmp_path.iterdir(): (o/'a.jpg').touch()
    skipped = Counter()
    assert [Path(o.path).parent.name for o in module.scan_photos(str(tmp_path), '', skipped)] == ['album'] and skipped == dict(hidden=4)


def test_one_name_in_many_folders(export_pkl, folder, tmp_path):
    "No photo replaces another one, even if names differ in case only, nor a file that was there before"
    for project,name in ('smith/hall', 'IMG.jpg'), ('jones', 'img.JPG'), ('Übung', 'IMG.jpg'):
        next((folder/project).glob('A*')).rename(folder/project/name)
    to = tmp_path/'sorted'
    for o in Classifier(export_pkl).labels:
        (to/o).mkdir(parents=True)
        (to/o/'IMG.jpg').write_text('mine')
    sort(export_pkl, folder, to)
    went = [o['to'] for o in table(to) if o['to']]
    assert len(placed(to)) == 9 + 3 and len({canonical_name(o) for o in went}) == 9
    assert all((to/o/'IMG.jpg').read_text() == 'mine' for o in Classifier(export_pkl).labels)


@pytest.mark.parametrize('layout', LAYOUTS[1:])
def test_the_tree_is_kept(export_pkl, folder, tmp_path, layout):
    to = tmp_path/'sorted'
    sort(export_pkl, folder, to, '--keep-tree', layout)
    for o in table(to):
        if not o['to']: continue
        tree = Path(o['path']).parent.relative_to(folder).parts
        assert tuple(o['to'].split('/')[:-1]) == ((o['label'], *tree) if layout == 'label/tree' else (*tree, o['label']))
    assert len(placed(to)) == 10 # the same content once in each folder


def test_predictions_that_are_not_confident(export_pkl, folder, tmp_path, capsys):
    never = dict(probability=1.1, ood=None, reference=None, set_probability=None)
    wary = rewrite(export_pkl, tmp_path/'wary.pkl', change_meta(thresholds=dict(graph=never)))
    sort(wary, folder, tmp_path/'sorted')
    assert {o.split('/')[0] for o in placed(tmp_path/'sorted')} == {'unsure'}
    assert all(o['confident'] == 'no' and 'It is most like' in o['reason'] for o in table(tmp_path/'sorted') if o['to'])
    assert '9 unsure' in capsys.readouterr().out


def test_a_dry_run_does_nothing(export_pkl, folder, tmp_path, capsys):
    "It counts, by folder and label, the photos that haven't been sorted yet"
    assert sort(export_pkl, folder, tmp_path/'sorted', '--dry-run') == 0
    head,*lines = capsys.readouterr().out.splitlines()
    rows = {o.split()[0]: [int(n) for n in o.split()[1:]] for o in lines if o[-1].isdigit()}
    assert head.startswith('folder') and "can't be opened" in head and set(rows) == {'smith', 'smith/hall', 'jones', 'Übung', 'all'}
    assert sum(rows['all']) == 11 and rows['all'] == [sum(o) for o in zip(*(v for k,v in rows.items() if k != 'all'))]
    assert not (tmp_path/'sorted').exists()
    sort(export_pkl, folder, tmp_path/'sorted')
    before = content(tmp_path)
    capsys.readouterr()
    sort(export_pkl, folder, tmp_path/'sorted', '--dry-run')
    assert '10 sorted before' in capsys.readouterr().out and content(tmp_path) == before


@pytest.mark.parametrize('how', [[], ['--move'], ['--link'], ['--move', '--keep-tree', 'tree/label']], ids=' '.join)
def test_there_and_back(export_pkl, folder, tmp_path, how, capsys):
    "Undone, everything is as it was, times and all"
    times = lambda: {o: o.stat().st_mtime_ns for o in folder.rglob('*.*g')}
    before,then,to = content(folder),times(),tmp_path/'sorted'
    sort(export_pkl, folder, to, *how)
    assert len(placed(to)) >= 9 and (len(content(folder)) < len(before)) == ('--move' in how)
    if how == ['--link']: assert all((to/o['to']).samefile(o['path']) for o in table(to) if o['to'])
    assert main(['undo', str(to)]) == 0
    assert (content(folder), times()) == (before, then)
    assert [o.suffix for o in to.iterdir() if not o.name.startswith('.')] == ['.csv']
    assert ('moved back' if '--move' in how else 'removed') in capsys.readouterr().out


@pytest.mark.skipif(not SHM.is_dir(), reason="needs two file systems")
@pytest.mark.parametrize('how', ['--move', '--link'])
def test_to_another_file_system(export_pkl, folder, how, tmp_path, capsys):
    with tempfile.TemporaryDirectory(dir=SHM) as to:
        if os.stat(to).st_dev == os.stat(folder).st_dev: pytest.skip("needs two file systems")
        before,to = content(folder),Path(to)
        time = {str(o): o.stat().st_mtime_ns for o in folder.rglob('*.*g')}
        sort(export_pkl, folder, to, how)
        assert all((to/o['to']).stat().st_mtime_ns == time[o['path']] for o in table(to) if o['to'])
        if how == '--move': assert len(content(folder)) == len(before) - 9
        else: assert '9 of the links are symbolic' in capsys.readouterr().out and (to/placed(to).popitem()[0]).is_symlink()
        main(['undo', str(to)])
        assert content(folder) == before and not placed(to)


@pytest.mark.parametrize('how', ['copy', 'move', 'link'])
def test_a_file_that_comes_at_the_same_moment(export_pkl, folder, tmp_path, monkeypatch, how):
    "A file that another program creates at a photo's destination stays, and the photo goes beside it"
    before,unique_destination,theirs = content(folder),module.unique_destination,set()
    def taken_meanwhile(journal, *args):
        to,exists = unique_destination(journal, *args)
        if not theirs: Path(journal.at(to)).write_text('theirs'); theirs.add(to)
        return to,exists
    for o in Classifier(export_pkl).labels: (tmp_path/'sorted'/o).mkdir(parents=True)
    monkeypatch.setattr(module, 'unique_destination', taken_meanwhile)
    module.sort(folder, tmp_path/'sorted', export_pkl, how)
    went = placed(tmp_path/'sorted')
    assert (tmp_path/'sorted'/theirs.pop()).read_text() == 'theirs'
    assert len(went) == 10 and set(went.values()) > set(before.values()) - set(content(folder).values())
    main(['undo', str(tmp_path/'sorted')])
    assert content(folder) == before and len(placed(tmp_path/'sorted')) == 1


def test_each_table_that_was_undone_is_kept(export_pkl, folder, tmp_path):
    "Also where it takes less than a second"
    sort(export_pkl, folder, to := tmp_path/'sorted')
    one = (to/CSV).read_bytes()
    for _ in range(3):
        (to/CSV).write_bytes(one)
        main(['undo', str(to)])
    assert len(list(to.glob('undone-*.csv'))) == 3 and all(o.read_bytes() == one for o in to.glob('undone-*.csv'))


def test_undo_continues_after_a_kill(export_pkl, folder, tmp_path, capsys):
    "A reserved name isn't a file in the way, and neither is a copy that an undo between file systems had just made"
    before,to = content(folder),tmp_path/'sorted'
    sort(export_pkl, folder, to, '--move')
    reserved,copied,*_ = [o for o in table(to) if o['to']]
    if os.name != 'nt': Path(reserved['path']).touch() # Windows needs no reservation
    shutil.copy2(to/copied['to'], copied['path'])
    main(['undo', str(to)])
    assert content(folder) == before and not placed(to) and '9 moved back' in capsys.readouterr().out


OLD_HEADER = b'\xef\xbb\xbfpath,label,probability,second,sure,reason,to,how,shape,sha256,size,mtime\r\n' # of version 0.1


@pytest.fixture
def old(export_pkl, folder, tmp_path):
    "A folder that version 0.1 sorted photos into: its tables have other names for two columns"
    sort(export_pkl, folder, to := tmp_path/'sorted')
    header,rows = (to/CSV).read_bytes().split(b'\r\n', 1)
    assert header.endswith(b',confident,reason,to,how,layout,sha256,size,mtime')
    (to/CSV).write_bytes(OLD_HEADER + rows)
    return to


def test_a_table_of_version_0_1_is_continued_and_undone(export_pkl, folder, old, capsys):
    "Only new photos are sorted, below the same header; undo takes back all of them"
    before = content(folder)
    shutil.copy(next(folder.rglob('A*.*g')), new := folder/'jones/new.png')
    new.write_bytes(new.read_bytes() + b'.')
    capsys.readouterr()
    assert sort(export_pkl, folder, old) == 0
    assert 'Copied 1 photo ' in capsys.readouterr().out and (old/CSV).read_bytes().startswith(OLD_HEADER) and len(placed(old)) == 10
    assert [o['sure'] for o in table(old)].count('yes') == 11 and [o.path for o,_ in read_rows(old/CSV)][-1] == str(new)
    assert main(['undo', str(old)]) == 0
    assert not placed(old) and content(folder) == before | {'jones/new.png': content(folder)['jones/new.png']}


def test_a_table_of_version_0_1_is_reviewed(old):
    pytest.importorskip('fastai')
    from tellapart.clean.review import find_corrections
    row,*others = [o for o,_ in read_rows(old/CSV) if o.to]
    (old/'other').mkdir()
    (old/row.to).rename(old/'other/1.png')
    found,counts,_ = find_corrections(str(old/CSV), ['other', *{o.label for o in [row, *others]}])
    assert found == [(row, 'other/1.png', 'other')] and counts.total() == len(others)


def test_nothing_that_is_left_is_open(export_pkl, tmp_path):
    with Journal(str(tmp_path/CSV)) as journal: index = journal.index
    with pytest.raises(sqlite3.ProgrammingError, match='closed'): index.is_taken('a.jpg')


def test_what_a_spreadsheet_would_compute(export_pkl, folder, tmp_path):
    "Whatever labels are called, no cell of the table begins like a formula; and what it says is read back as it was"
    labels = ['=HYPERLINK("https://example.com")', '-x', "'=1"]
    odd = rewrite(export_pkl, tmp_path/'odd.pkl', change_meta(labels=labels))
    before,to = content(folder),tmp_path/'sorted'
    sort(odd, folder, to)
    cells = [o for row in table(to) for o in row.values()]
    assert any(o.startswith(("'=HYPERLINK", "'-x")) for o in cells) and not any(o.startswith(tuple('=+-@')) for o in cells)
    assert {o.label for o,_ in read_rows(to/CSV)} <= {*labels, ''} and all((to/o.to).exists() for o,_ in read_rows(to/CSV) if o.to)
    main(['undo', str(to)])
    assert not placed(to) and content(folder) == before


def test_where_no_photo_can_be_opened(export_pkl, tmp_path, capsys):
    "That is no success; but with one more photo that can be, it is"
    (folder := tmp_path/'photos').mkdir()
    for o in 'ab': (folder/f'{o}.jpg').write_text('gone')
    for more in ['--dry-run'], []:
        assert sort(export_pkl, folder, tmp_path/'sorted', *more) == 1
        refused(capsys, 'None of 2 photos could be opened')
    shutil.copy(next(export_pkl.parent.glob('photos/*/*')), folder)
    for more in ['--dry-run'], [], []: assert sort(export_pkl, folder, tmp_path/'sorted', *more) == 0


def test_undo_removes_nothing_that_is_the_last_of_its_kind(export_pkl, folder, tmp_path, capsys):
    to = tmp_path/'sorted'
    sort(export_pkl, folder, to)
    a,b,c,d,*rest = [o for o in table(to) if o['to']]
    (to/a['to']).write_bytes(b'turned upright')
    Path(b['path']).unlink()
    Path(c['path']).write_bytes(b'changed')
    (to/d['to']).unlink()
    main(['undo', str(to)])
    assert set(placed(to)) == {o['to'] for o in (a, b, c)}
    out = capsys.readouterr().out
    assert all(o in out for o in ('5 removed', '2 whose original has changed or is gone', '1 that have changed', '1 gone already'))


def test_undo_brings_back_what_was_dragged_about(export_pkl, folder, tmp_path, capsys):
    "A photo that was moved goes back from wherever it is now, but never onto another file"
    before,to = content(folder),tmp_path/'sorted'
    sort(export_pkl, folder, to, '--move')
    a,b,*_ = [o for o in table(to) if o['to']]
    (to/'elsewhere').mkdir()
    (to/a['to']).rename(to/'elsewhere/new name.jpg')
    Path(b['path']).write_text('another file')
    main(['undo', str(to)])
    assert '8 moved back' in capsys.readouterr().out and Path(b['path']).read_text() == 'another file' and list(placed(to)) == [b['to']]
    Path(b['path']).unlink()
    main(['undo', str(next(to.glob('undone-*.csv')))])
    assert content(folder) == before


def test_once_more_takes_what_is_new(export_pkl, folder, tmp_path, capsys):
    "Photos that were sorted aren't looked at again, others under the same names are"
    to = tmp_path/'sorted'
    sort(export_pkl, folder, to, '--move')
    file = Path(next(o['path'] for o in table(to) if o['to'] and '/jones/' in o['path'].replace(os.sep, '/')))
    Image.effect_noise((300, 200), 90).convert('RGB').save(file, 'PNG')
    capsys.readouterr()
    sort(export_pkl, folder, to, '--move')
    out = capsys.readouterr().out
    assert 'Moved 1 photo ' in out and len(placed(to)) == 10 and not file.exists()
    assert len(table(to)) == 12 # what can't be opened is tried again, and has its one row


def test_once_more_when_all_have_been_moved(export_pkl, folder, tmp_path, capsys):
    "It goes on where it was stopped, and be it at the pages"
    for o in folder.rglob('*'):
        if o.name in ('broken.jpg', 'the same again.png'): o.unlink()
    sort(export_pkl, folder, tmp_path/'sorted', '--move')
    shutil.rmtree(tmp_path/'sorted/sheets')
    assert sort(export_pkl, folder, tmp_path/'sorted', '--move') == 0 == sort(export_pkl, folder, tmp_path/'sorted', '--move', '--dry-run')
    assert 'Moved 0 photos' in capsys.readouterr().out and list((tmp_path/'sorted/sheets').iterdir())


@pytest.fixture
def stopped(ctrl_c):
    "Sort in a process that gets a signal at a given moment; how many moments there were"
    script = [sys.executable, Path(__file__).parents[2]/'killed.py']
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        def run(*args):
            print(json.dumps(args), file=p.stdin, flush=True)
            return int(p.stdout.readline())
        yield run
        p.stdin.close()


@posix
@pytest.mark.parametrize('how,number,elsewhere', [('copy', signal.SIGKILL, False), ('move', signal.SIGKILL, False),
                                                  ('move', signal.SIGKILL, True), ('link', signal.SIGINT, False)],
                         ids=['copy', 'move', 'move to another file system', 'link, with Ctrl-C'])
def test_a_kill_at_any_moment_loses_nothing(export_pkl, folder, tmp_path, stopped, how, number, elsewhere):
    "After a kill all photos are there; a second run goes on, and in the end all is as if nothing had happened"
    with tempfile.TemporaryDirectory(dir=SHM if elsewhere and SHM.is_dir() else tmp_path) as place:
        was,to = tmp_path/'was',Path(place)/'sorted'
        for o in folder.rglob('B*.*g'): o.unlink()
        shutil.copytree(folder, was, symlinks=True)
        def state(): return content(folder), placed(to), sorted((o['path'], o['to']) for o in table(to))
        def fresh():
            for o in folder, to: shutil.rmtree(o, ignore_errors=True)
            shutil.copytree(was, folder, symlinks=True)
            to.mkdir()
        def run(stop=0): return stopped(stop, number, str(folder), str(to), str(export_pkl), how)
        fresh()
        steps,expected = run(),state()
        assert len(expected[1]) == 5 and steps > 20
        for stop in random.Random(how).sample(range(1, steps), 5 if elsewhere or how == 'link' else 10):
            fresh()
            run(stop)
            assert {*content(folder).values(), *content(to).values()} - {EMPTY} == set(content(was).values()), stop
            done = (to/CSV).read_bytes() if (to/CSV).exists() else b''
            run()
            assert state() == expected, stop
            assert (to/CSV).read_bytes().startswith(done[:done[:-1].rfind(b'\n') + 1]), stop # nothing was looked at again but the last
            assert not (to/'.sorted.part').is_file()


@pytest.mark.parametrize('source,to,words', [
    ('nowhere', 'sorted', ["nowhere isn't a folder; name a folder"]), ('file.jpg', 'sorted', ["file.jpg isn't a folder"]),
    ('empty', 'sorted', ['There is no photo in', '1 of another kind']),
    ('projects', 'projects', ['which contains it', '--to']), ('projects/smith', 'projects', ['which contains it', '--to']),
    ('projects', 'file.jpg', ["file.jpg can't be written"]), ('projects', 'taken', ["sorted.csv wasn't written by tellapart"])])
def test_what_cannot_be_is_told_before_anything_is_done(export_pkl, folder, tmp_path, source, to, words, capsys):
    (tmp_path/'file.jpg').write_text('mine')
    for o in 'empty', 'taken': (tmp_path/o).mkdir()
    (tmp_path/'empty/film.mp4').touch()
    (tmp_path/'taken'/CSV).write_text('mine,not yours\n')
    before = sorted(tmp_path.rglob('*')),content(tmp_path)
    assert sort(export_pkl, tmp_path/source, tmp_path/to) == 1
    refused(capsys, *words)
    assert (sorted(o for o in tmp_path.rglob('*') if o.name != '.sorted.lock'), content(tmp_path)) == before


def test_where_nobody_may_write(export_pkl, folder, tmp_path, capsys):
    (to := tmp_path/'locked').mkdir(mode=0o500)
    if os.access(to, os.W_OK): to = Path('/sys') # root may write everywhere but there
    if not to.exists(): pytest.skip("this system lets its user write everywhere")
    assert sort(export_pkl, folder, to/'sorted') == 1
    refused(capsys, "can't be written", 'fix that')


def test_sorted_into_a_folder_of_its_own(export_pkl, folder):
    "What was sorted isn't sorted again where it lies among what is sorted"
    for _ in range(2): sort(export_pkl, folder, folder/'jones/sorted', '--keep-tree', 'label/tree')
    assert len(placed(folder/'jones/sorted')) == 10


def test_a_full_disk(export_pkl, folder, tmp_path, capsys):
    "What was done stays, nothing half is left, and the rest is done when there is room again"
    resource = pytest.importorskip('resource')
    to,limits,handler = tmp_path/'sorted',resource.getrlimit(resource.RLIMIT_FSIZE),signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sizes = sorted(o.stat().st_size for o in folder.rglob('[AB]*.*g'))
    resource.setrlimit(resource.RLIMIT_FSIZE, (sizes[5], limits[1]))
    try: assert sort(export_pkl, folder, to) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    refused(capsys, "can't be written", 'run this step again')
    assert set(placed(to).values()) <= set(content(folder).values()) and not (to/'.sorted.part').exists()
    sort(export_pkl, folder, to)
    assert len(placed(to)) == 9


@pytest.mark.parametrize('how', ['copy', 'move', 'link'])
def test_a_photo_that_changes_or_vanishes_meanwhile(export_pkl, folder, tmp_path, monkeypatch, how, capsys):
    "It is left to the next run"
    gone,changed = sorted(folder.rglob('[AB]*.*g'))[:2]
    class Meanwhile(Classifier):
        def many(self, photos):
            for prediction in super().many(list(photos)):
                if gone.exists():
                    gone.unlink()
                    Image.effect_noise((200, 300), 70).convert('RGB').save(changed, 'PNG')
                yield prediction
    with monkeypatch.context() as m:
        m.setattr(module, 'Classifier', Meanwhile)
        module.sort(folder, tmp_path/'sorted', export_pkl, how)
    assert '2 changed or gone meanwhile' in capsys.readouterr().out
    assert not {str(gone), str(changed)} & {o['path'] for o in table(tmp_path/'sorted')}
    now = hashlib.sha256(changed.read_bytes()).hexdigest()
    module.sort(folder, tmp_path/'sorted', export_pkl, how)
    assert [o['sha256'] for o in table(tmp_path/'sorted') if o['path'] == str(changed)] == [now]


@posix
def test_a_photo_that_may_not_be_moved(export_pkl, folder, tmp_path, monkeypatch, capsys):
    "It stays, with the reason, and the others go on"
    stuck = sorted(folder.rglob('[AB]*.*g'))[0]
    rename = os.rename
    def refuse(src, dst):
        if src == str(stuck): raise PermissionError(13, 'Permission denied', src)
        rename(src, dst)
    with monkeypatch.context() as m:
        m.setattr(os, 'rename', refuse) # what Windows does with files that are open elsewhere
        sort(export_pkl, folder, tmp_path/'sorted', '--move')
    assert stuck.exists() and "1 that can't be sorted" in capsys.readouterr().out
    row, = [o for o in table(tmp_path/'sorted') if o['path'] == str(stuck)]
    assert (row['to'], row['reason']) == ('', "It can't be moved: Permission denied.")
    sort(export_pkl, folder, tmp_path/'sorted', '--move')
    assert not stuck.exists()


def test_names_that_are_hardly_names(export_pkl, folder, tmp_path):
    "Line breaks, commas, bytes that are no text and what Windows has no room for: sorted, found again, brought back"
    photo = next(export_pkl.parent.glob('photos/*/*.png'))
    names = [b'two\nlines.png', b'a,"b".png', b'caf\xe9.png', b'CON.png', b'x' * 250 + b'.png', '😀 ü.png'.encode(), b'=1+1.png',
             b'no suffix', b'photo.php?id=7']
    for i,o in enumerate(names):
        try: (folder/os.fsdecode(o)).write_bytes(photo.read_bytes() + bytes([i]))
        except OSError: continue # this system hasn't room for it either
    before,to = content(folder),tmp_path/'sorted'
    sort(export_pkl, folder, to, '--move')
    went = placed(to)
    sorted_paths = {o['path'] for o in table(to) if o['to']}
    assert len(went) == len(before) - 4 and str(folder/os.fsdecode(names[0])) in sorted_paths or os.name == 'nt'
    assert all(safe_name(part) == part for place in went for part in place.split('/'))
    for _ in range(2): sort(export_pkl, folder, to, '--move')
    assert placed(to) == went
    main(['undo', str(to)])
    assert content(folder) == before


def test_a_photo_of_two_hundred_megapixels(export_pkl, folder, tmp_path):
    Image.new('1', (20_000, 10_000)).save(folder/'vast.png')
    sort(export_pkl, folder, tmp_path/'sorted')
    row, = [o for o in table(tmp_path/'sorted') if o['path'].endswith('vast.png')]
    assert not row['to'] and 'has 200 megapixels, more than' in row['reason']


def test_one_program_at_a_time(export_pkl, folder, tmp_path, capsys):
    sort(export_pkl, folder, tmp_path/'sorted')
    with Journal(str(tmp_path/'sorted'/CSV)):
        assert sort(export_pkl, folder, tmp_path/'sorted') == 1
        refused(capsys, 'Another program is at work on the photos in')


@pytest.mark.long
def test_a_folder_of_many_files_takes_no_memory(tmp_path):
    import tracemalloc
    for i in range(4000): (tmp_path/f'{i:0200}.jpg').touch()
    list(module.scan_photos(str(tmp_path), '', Counter()))
    tracemalloc.start()
    assert sum(1 for _ in module.scan_photos(str(tmp_path), '', Counter())) == 4000
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


def test_a_sheet_for_each_label_in_a_browser(browser, export_pkl, folder, tmp_path):
    "The least confident first; a click opens the photo, a link leads to the next label"
    if os.name != 'nt': (folder/'jones/<script>window.taken=true<').write_bytes(next(folder.rglob('A*.png')).read_bytes() + b'.')
    to = tmp_path/'sorted'
    sort(export_pkl, folder, to)
    labels = sorted({o['label'] for o in table(to) if o['to']})
    page = browser.new_page(viewport=dict(width=1000, height=800))
    page.goto((to/'sheets'/f'{labels[0]}.html').as_uri())
    for label in labels:
        shown = page.locator('figure')
        rows = sorted((float(o['probability']), o['to']) for o in table(to) if o['label'] == label and o['to'])
        assert page.inner_text('h1').split()[:2] == [label, str(len(rows))] and shown.count() == len(rows)
        assert page.evaluate("[...document.images].every(o => o.complete && o.naturalWidth > 50)")
        assert f'{rows[0][0]:.0%}' in shown.first.inner_text()
        assert page.evaluate('window.taken') is None
        if label != labels[-1]: page.click(f'nav >> text={labels[labels.index(label) + 1]}')
    page.locator('figure a').first.click()
    assert page.evaluate("document.images.length == 1 && document.images[0].naturalWidth > 50")
    page.close()


HOSTILE = ['CON', 'con.txt', 'aux.jpg', 'COM1', 'lpt9.tar.gz', 'nul .x', 'CONIN$', 'com¹', '', '.', '..', '...', ' . ', 'a.', 'a ', 'a:b',
           'C:', r'..\..\x', '../../x', r'\\srv\share', '/', 'a/b', 'a\0b', 'tab\t', 'two\nlines', 'x'*300, 'é'*200, 'x'*252 + '.jpeg',
           'a' + '.b'*150, '😀'*80 + '.jpg', 'caf\udce9', '<>:"|?*', 'ﬀ', '.hidden', 'desktop.ini']


@pytest.mark.parametrize('name', HOSTILE, ids=ascii)
def test_names_are_good_on_every_system(name):
    reserved = getattr(ntpath, 'isreserved', lambda o: PureWindowsPath(o).is_reserved() or o.endswith(('.', ' ')))
    for mark in '', '-3f9a21c0':
        safe = safe_name(name, mark)
        assert safe and safe == safe_name(safe) and mark in safe and len(safe.encode()) <= 255
        assert not reserved(safe) and not set(safe) & set('\0\t\n<>:"/\\|?*')
        for layout in LAYOUTS:
            place = PureWindowsPath('D:/sorted')/folder_for([name, 'hall'], safe, layout)/safe
            assert place.is_relative_to('D:/sorted') and len(place.parts) == {'label': 4}.get(layout, 6) and '..' not in place.parts


def test_labels_have_folders_of_their_own():
    folders = label_folders(HOSTILE + ['Cat', 'cat', 'CAT', 'Unsure', 'unsure', 'Sheets'])
    assert len({canonical_name(o) for o in folders.values()}) == len(folders)
    assert all(safe_name(o) == o and canonical_name(o) not in ('unsure', 'sheets') for o in folders.values())
