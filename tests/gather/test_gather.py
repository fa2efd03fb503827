"Gathering and checking over real HTTP: the demo web, a kill in the middle, no network, no disk"
import os, random, time
from hashlib import sha256
import pytest
from PIL import Image
from forked import context
from tellapart.errors import TellapartError
from tellapart.check.check import check, contact_sheet
from tellapart.credits import write_credits
from tellapart.demo.draw import draw
from tellapart.demo.fault_recall import fault_recall
from tellapart.demo.web import ground_truth_of, load_ground_truth, photo_file, run_demo_web
from tellapart.gather.funnel import funnel
from tellapart.gather.gather import gather, gather_summary
from tellapart.catalog import Catalog
from tellapart.project import read_project
from tellapart.images import open_photo

PROJECT = '''name = "rackets"
source = "demo"
per_label = 30
timeout = 4
[labels]
squash = "squash racket"
tennis = ["tennis racket", "tennis racket on court"]
'''
PATIENT = PROJECT.replace('timeout = 4', 'timeout = 30') # for a busy machine, where no host hangs


def project(folder, text=PROJECT, demo_web=None):
    (folder/'tellapart.toml').write_text(text)
    return read_project(folder/'tellapart.toml', demo_web=demo_web)


def is_consistent(p):
    "Whether each photo in use has its file, and each file its row"
    with Catalog(p.folder) as catalog: df = catalog.frame('all')
    files = {o for folder in (p.photos, p.quarantine) for o in folder.rglob('*') if o.is_file()}
    return set(df.path) == files and df.sha256.groupby(df.label).nunique().sum() == len(df)


@pytest.fixture(scope='module')
def gathered(tmp_path_factory):
    p = project(tmp_path_factory.mktemp('gather'))
    return p,gather(p)


def test_each_label_reaches_its_target(gathered):
    p,result = gathered
    assert list(result.counts.total) == [30, 30] and is_consistent(p)
    with Catalog(p.folder) as catalog: df = catalog.frame()
    for o in df.itertuples():
        assert open_photo(o.path).size == (o.width, o.height)
        assert o.file.startswith(f'{o.label}-{o.sha256[:8]}') and o.origin == 'demo' and o.url and o.query in p.labels[o.label]


def test_a_repetition_adds_nothing(gathered):
    p,_ = gathered
    assert 'usable' not in gather(p).counts and is_consistent(p)


def test_what_is_announced_as_too_small_is_not_fetched(tmp_path):
    rows = 'http://nowhere.invalid/1.jpg,cat,16,400\nhttp://nowhere.invalid/2.jpg,dog,400,16\n'
    (tmp_path/'photos.csv').write_text('URL,Label,width,height\n' + rows)
    p = project(tmp_path, 'name = "cats"\nsource = "csv"\ncsv = "photos.csv"\ntimeout = 2\n[labels]\ncat = "cat"\ndog = "dog"\n')
    gather(p)
    with Catalog(p.folder) as catalog: assert catalog.rejected().reason.tolist() == ['too small', 'too small']


def test_planted_faults_are_found(gathered):
    p,_ = gathered
    check(p)
    found = fault_recall(p)
    kinds = ['missing', 'html', 'cut short', 'empty', 'tiny', 'redirect loop', 'exact duplicate', 'near duplicate']
    assert found.loc[kinds, 'left'].sum() == 0
    assert found.offered.sum() > 10
    with Catalog(p.folder) as catalog: df = catalog.frame()
    assert df.groupby('group_id').split.nunique().max() == 1
    for o in df.itertuples():
        copy = open_photo(o.working)
        assert min(copy.size) <= 640 and (copy.width > copy.height) == (o.width > o.height)


@pytest.mark.long
def test_own_photos_come_first_and_stay_together_by_object(tmp_path):
    for name in 'old', 'new':
        (tmp_path/'own/squash'/name).mkdir(parents=True)
        for i in range(6): draw('squash', name, i, (160, 120)).save(tmp_path/'own/squash'/name/f'{i}.png')
    (tmp_path/'own/squash/old/notes.txt').write_text('bought in May')
    p = project(tmp_path, PROJECT.replace('"demo"', '["folder", "demo"]'))
    result = gather(p)
    assert list(result.counts.total) == [30, 30] # there is no folder for tennis, so all of its photos are the demo web's
    assert f'There is no folder {p.own_photos/"tennis"}' in gather_summary(p, result)
    check(p)
    with Catalog(p.folder) as catalog: df = catalog.frame().query("origin == 'own'")
    assert len(df) == 12 and df.groupby('object_id').group_id.nunique().to_dict() == dict(old=1, new=1)


@pytest.mark.long
def test_copies_do_not_count(tmp_path):
    (tmp_path/'own/tennis').mkdir(parents=True)
    for i in range(8):
        photo = draw('tennis', i, 0, (320, 240))
        photo.save(tmp_path/'own/tennis'/f'{i}.png')
        photo.resize((240, 180)).save(tmp_path/'own/tennis'/f'{i} small.jpg', quality=50)
    p = project(tmp_path, PROJECT.replace('"demo"', '["folder", "demo"]').replace('= 30', '= 12'))
    assert list(gather(p).counts.total) == [12, 12]
    check(p)
    with Catalog(p.folder) as catalog:
        assert catalog.count('tennis') == 12
        small = catalog.frame('aside').query("origin == 'own'")
    assert len(small) == 8 and all(o.endswith('small.jpg') for o in small.url) and set(small.reason.str[:17]) == {'near duplicate of'}


def noise(folder, n, size=(40, 40)):
    "Save photos that are no duplicates"
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n): Image.effect_noise(size, 80).save(folder/f'{i:03}.png')


MINE = 'name = "mine"\nsource = "folder"\n[labels]\nsquash = "squash"\ntennis = "tennis"\n'

@pytest.mark.long
def test_all_own_photos_are_taken_unless_there_is_per_label(tmp_path):
    for label in 'squash', 'tennis':
        for i in range(8): noise(tmp_path/'own'/label/f'object {i}', 15)
        noise(tmp_path/'own'/label, 40)
    some = project(tmp_path, MINE.replace('"folder"', '"folder"\nper_label = 30'))
    result = gather(some)
    assert list(result.counts.total) == [30, 30] and result.offered == dict(squash=(30, 160), tennis=(30, 160))
    for _ in range(2):
        assert 'squash has 30 of the 160 that you gave, since per_label is 30; tennis has 30 of the 160' in gather_summary(some, result)
        result = gather(some)
    with Catalog(some.folder) as catalog: df = catalog.frame()
    assert set(df.groupby('label').object_id.nunique()) == {8} # some of each object, and photos of no object from all over the list
    loose = sorted(int(o[-7:-4]) for o in df.url[(df.label == 'squash') & df.object_id.isna()])
    assert len(loose) > 12 and max(b - a for a,b in zip([0, *loose], [*loose, 40])) <= 8
    p = project(tmp_path, MINE)
    result = gather(p)
    assert list(result.counts.total) == [160, 160] and is_consistent(p)
    assert gather_summary(p, result) == 'Gathered 320 photos (160 squash, 160 tennis); 0 candidates were rejected.'
    noise(tmp_path/'own'/'squash'/'new', 1)
    assert list(gather(p).counts.total) == [161, 160]


def test_a_photo_that_was_given_another_label_does_not_come_back(tmp_path):
    "Not from where it was, and not as a copy"
    for label in 'squash', 'tennis': noise(tmp_path/'own'/label, 5)
    gather(p := project(tmp_path, MINE))
    with Catalog(p.folder) as catalog:
        row = next(catalog.frame().query("label == 'squash'").itertuples())
        (tmp_path/'own'/'squash'/'copy.png').write_bytes(row.path.read_bytes())
        catalog.apply(labels={row.file: 'tennis'})
    counts = gather(p).counts
    assert list(counts.total) == [4, 6] and counts['exact duplicate'].sum() == 1 and is_consistent(p)


def test_the_web_supplies_what_own_photos_lack(tmp_path, demo_process):
    noise(tmp_path/'own'/'squash', 10)
    noise(tmp_path/'own'/'tennis', 3)
    rows = ''.join(f'own/squash/{i:03}.png,tennis\n' for i in range(10)) + 'none.png,tennis\nown/squash/000.png,golf\n'
    (tmp_path/'photos.csv').write_text('URL,Label\n' + rows)
    text = PATIENT.partition('[labels]')[0].replace('"demo"', '["folder", "csv", "demo"]').replace('per_label = 30\n', '')
    p = project(tmp_path, text + '[labels]\nsquash = {"squash racket" = 8}\ntennis = {"tennis racket" = 20}\n', demo_process)
    result = gather(p)
    assert list(result.counts.total) == [10, 20] and is_consistent(p)
    with Catalog(p.folder) as catalog: by_origin = catalog.frame().groupby(['label', 'origin']).size().to_dict()
    assert by_origin == {('squash', 'own'): 10, ('tennis', 'own'): 13, ('tennis', 'demo'): 7}
    summary = gather_summary(p, result)
    assert "has no row for 'squash'" in summary and '1 No such file or directory' in summary
    assert 'rows of photos.csv that were left out: 1 of other labels (golf)' in summary


@pytest.mark.long
def test_the_summary_of_a_hundred_labels_is_short(tmp_path):
    labels = [f'label number {i:03}' for i in range(120)]
    for o in labels: noise(tmp_path/'own'/o, 2)
    text = MINE.partition('[labels]')[0] + '[labels]\n' + ''.join(f'"{o}" = "{o}"\n' for o in labels)
    p = project(tmp_path, text)
    summary = gather_summary(p, gather(p))
    assert summary.startswith('Gathered 240 photos (2 label number 000, ') and len(summary) < 400
    assert 'and 112 more); 0 candidates were rejected' in summary
    p = project(tmp_path, text.replace('"folder"', '"folder"\nper_label = 5'))
    summary = gather_summary(p, gather(p))
    assert 'label number 000 has 2 of 5, its sources have no more' in summary and len(summary) < 700


@pytest.mark.skipif(os.name == 'nt', reason="Windows' names are text")
def test_file_names_that_are_not_utf8(tmp_path):
    "Their photos are gathered with their object, and the catalog stays readable"
    noise(tmp_path/'own'/'squash'/os.fsdecode(b'caf\xe9'), 3)
    noise(tmp_path/'own'/'tennis', 2)
    (tmp_path/'own'/'tennis'/'001.png').rename(tmp_path/'own'/'tennis'/os.fsdecode(b'\xff #1?%41.png'))
    p = project(tmp_path, MINE)
    assert list(gather(p).counts.total) == [3, 2] and 'usable' not in gather(p).counts
    with Catalog(p.folder) as catalog: assert set(catalog.frame().object_id.dropna()) == {r'caf\udce9'}


def test_no_photos_at_all(tmp_path):
    "Each step says so"
    (tmp_path/'photos.csv').write_text('URL,Label\n/no/a.jpg,squash\nC:\\b.jpg,tennis\n')
    p = project(tmp_path, MINE.replace('"folder"', '"csv"'))
    assert gather_summary(p, gather(p)).startswith('Gathered 0 photos (0 squash, 0 tennis); 2 candidates were rejected '
                                                   '(2 No such file or directory); squash has none; tennis has none')
    assert 'there were no candidates' in funnel(project(tmp_path, MINE.replace('"mine"', '"other"'))).axes[0].get_title(loc='left')
    assert funnel(p) and write_credits(p).exists() and contact_sheet([]).width
    with pytest.raises(TellapartError, match="There is no photo of 'squash'; run 01_gather"): check(p)


@pytest.fixture
def demo_process():
    "The demo web in a process of its own, for projects of `PROJECT`'s labels"
    terms = dict(squash=['squash racket'], tennis=['tennis racket', 'tennis racket on court'])
    with run_demo_web(terms=terms, per_label=60, without=['hanging', 'slow']) as web: yield web.url


def test_a_busy_machine_takes_no_host_for_a_slow_one(tmp_path, monkeypatch):
    "However long the demo web draws a photo, only the hosts that hang run into the timeout"
    monkeypatch.setattr('tellapart.demo.web.photo_file', lambda *args: (time.sleep(.6), photo_file(*args))[1])
    result = gather(p := project(tmp_path, PROJECT.replace('timeout = 4', 'timeout = 0.4').replace('per_label = 30', 'per_label = 6')))
    with Catalog(p.folder) as catalog: late = catalog.rejected().query("reason == 'timeout'").url
    truth = load_ground_truth(p.ground_truth)
    assert all({'hanging', 'slow'} & {*ground_truth_of(truth, o).faults} for o in late) and list(result.counts.total) == [6, 6]


def test_search_terms_keep_their_shares_and_replace_each_other(tmp_path, demo_process):
    text = PATIENT.partition('[labels]')[0] + '''[labels]
squash = {"squash racket" = 20, "a term that finds nothing" = 10}
tennis = {"tennis racket" = 20, "tennis racket on court" = 10}
'''
    result = gather(p := project(tmp_path, text, demo_process))
    with Catalog(p.folder) as catalog: by_term = catalog.frame().groupby(['label', 'query']).size()
    assert list(result.counts.total) == [30, 30] and result.exhausted == dict(squash=['a term that finds nothing'], tennis=[])
    assert abs(by_term['tennis', 'tennis racket'] - 20) <= 2 # duplicates aren't counted
    assert by_term['squash', 'squash racket'] >= 30
    assert "squash has all it can get for 'a term that finds nothing'" in gather_summary(p, result)


@pytest.mark.parametrize('kills', [4, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_many_times_and_run_again(tmp_path, demo_process, kills):
    "Own photos by the hundred, and some from the web: nothing is lost or doubled, and files and rows agree after each kill"
    for label in 'squash', 'tennis':
        (tmp_path/'own'/label).mkdir(parents=True)
        for i in range(100): Image.effect_noise((40, 40), 80).convert('RGB').save(tmp_path/'own'/label/f'{i}.png')
    text = PATIENT.replace('"demo"', '["folder", "demo"]').replace('per_label = 30', 'per_label = 120')
    p = project(tmp_path, text, demo_process)
    seen,longest,run = [],.2,None
    while kills and not (run and run.exitcode == 0):
        run = context.Process(target=gather, args=(p,))
        run.start()
        while run.is_alive() and not any(p.folder.glob('incoming/*')): time.sleep(.002)
        time.sleep(random.uniform(0, longest))
        run.kill()
        run.join()
        with Catalog(p.folder) as catalog: df = catalog.frame('all')
        assert is_consistent(p) and set(seen) <= set(df.sha256)
        if len(df) > len(seen): kills -= 1
        else: longest *= 1.3 # a slow machine: this one doesn't count
        seen = list(df.sha256)
    assert seen
    assert list(gather(p).counts.total) == [120, 120] and is_consistent(p) and not list(p.folder.glob('incoming/*'))
    with Catalog(p.folder) as catalog: df = catalog.frame('all')
    own = [sha256(o.read_bytes()).hexdigest() for o in (tmp_path/'own').rglob('*.png')]
    assert sorted(df.sha256[df.origin == 'own']) == sorted(own) and set(seen) <= set(df.sha256) and df.url.is_unique


def test_two_steps_at_once_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr('tellapart.catalog._WAIT', .1)
    p = project(tmp_path)
    with Catalog(p.folder, exclusive=True), pytest.raises(TellapartError, match='Another step is at work .* wait until it has ended'):
        gather(p)


def test_no_network(tmp_path, free_port, monkeypatch):
    monkeypatch.setenv('HTTPS_PROXY', f'http://127.0.0.1:{free_port}')
    monkeypatch.setattr('tellapart.gather.sources.base.RETRY_PAUSES', ())
    p = project(tmp_path, PROJECT.replace('"demo"', '"duckduckgo"'))
    with pytest.raises(TellapartError, match='check the network, or set source = "demo"'): gather(p)


def test_a_source_without_photos(tmp_path):
    for o in 'squash', 'tennis': (tmp_path/'own'/o).mkdir(parents=True)
    p = project(tmp_path, PROJECT.replace('"demo"', '"folder"'))
    assert list(gather(p).counts.total) == [0, 0]
    with pytest.raises(TellapartError, match="no photo of 'squash'"): check(p)


def test_a_full_disk_is_reported_and_loses_nothing(gathered):
    resource = pytest.importorskip('resource') # Windows has none
    p,_ = gathered
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
        why = "can't be written: File too large; fix that, then run this step again"
        with Catalog(p.folder) as catalog, pytest.raises(TellapartError, match=why):
            catalog.add('squash', os.urandom(2**17), '.jpg')
    finally: resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gather(p)
    assert is_consistent(p)
