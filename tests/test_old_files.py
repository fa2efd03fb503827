"What older versions have written opens, and gives the same results; tests/fixtures/version-0.1/make.py says what there is"
import csv, io, json, os, re, shutil, sqlite3
from pathlib import Path
import numpy as np, pytest

pytest.importorskip('fastai')
from tellapart.catalog import Catalog
from tellapart.check.check import check
from tellapart.check.quarantine import show_quarantine
from tellapart.clean.review import review
from tellapart.errors import TellapartError
from tellapart.gather.gather import gather
from tellapart.project import read_project
from tellapart.use.classifier import Classifier
from tellapart.use.sort.sort import sort, undo

FIXTURE,MTIME = Path(__file__).parent/'fixtures/version-0.1',1_700_000_000*10**9
EXPECTED = json.loads((FIXTURE/'expected.json').read_text('utf-8'))


@pytest.fixture
def old(tmp_path):
    "A copy of the fixture, with its own path in the table of sorted photos, and the files' times, which git doesn't keep"
    root = Path(shutil.copytree(FIXTURE, tmp_path/'old', ignore=shutil.ignore_patterns('make.py', 'expected.json')))
    header,*rows = csv.reader(io.StringIO((table := root/'sorted/sorted.csv').read_text('utf-8-sig')))
    rows = [[str(root/path.removeprefix('/home/you/')), *rest] for path,*rest in rows]
    csv.writer(f := io.StringIO()).writerows([header, *rows])
    table.write_bytes(f.getvalue().encode('utf-8-sig'))
    for o in root.rglob('*.jpg'): os.utime(o, ns=(MTIME, MTIME))
    return root


@pytest.fixture
def p(old): return read_project(old/'project/tellapart.toml')


def snapshot(catalog):
    "What the catalog says of each photo, by its first label and its content"
    first = dict(map(tuple, catalog.db.execute("select photo, json_extract(new, '$.label') from history where what='add'")))
    return {f'{first[o.id]} {o.sha256}': [o.label, o.status, words(o.reason), o.path.relative_to(catalog.folder).as_posix()]
            for o in catalog.frame('all').itertuples()}


def words(reason):
    "A reason as people see it, with the hash for the name of a photo, whose label may have changed since, and in today's words"
    return re.sub(r' of \w+-(\w+)\.jpg$', r' of \1', reason).replace('brought back', 'restored') if isinstance(reason, str) else None


def as_now(photos): return {k: [label, status, words(reason), path] for k,(label,status,reason,path) in photos.items()}


def test_the_catalog_has_all_it_had(p):
    for _ in range(2): # the second time it is no older one any more
        with Catalog(p.folder) as catalog:
            assert snapshot(catalog) == as_now(EXPECTED['photos']) and catalog.marks() == EXPECTED['marks']
            assert catalog.frame().set_index('sha256').split.to_dict() == EXPECTED['split']
            assert catalog.history().what.tolist() == EXPECTED['history']
            assert catalog.rejected()[['label', 'reason', 'step']].values.tolist() == EXPECTED['refused']
            assert {o: [list(h)[:3] for h in catalog.hashes(o)] for o in p.labels} == EXPECTED['hashes']


def test_a_duplicate_is_shown_beside_its_original_which_has_another_label_now(p):
    with Catalog(p.folder) as catalog: df = catalog.frame('all').set_index('id')
    duplicates = df[df.reason_kind == 'near duplicate']
    assert duplicates.label.tolist() == ['squash'] and df.label[duplicates.duplicate_of].tolist() == ['tennis']
    assert set(df.reason_kind.dropna()) == {'near duplicate', 'exact duplicate', 'cleaner', 'restored', 'deleted', 'original deleted',
                                            'moved by hand', 'other'}
    _,reasons,*_,grid = show_quarantine(p).children
    assert {o for _,o in reasons.options} == {'near duplicate', 'exact duplicate', 'set aside in cleaning', 'deleted by hand',
                                              'its original was deleted', 'moved to photos/not sure by hand', 'no racket'}
    reasons.value = 'near duplicate'
    assert grid.children[0].picture.value.count('<img') == 2


def test_undo_works_back_to_the_beginning(p):
    gone, = (k for k,o in EXPECTED['photos'].items() if o[2] == 'deleted by hand')
    with Catalog(p.folder) as catalog:
        for said,changed in EXPECTED['undo']:
            before = snapshot(catalog)
            assert catalog.undo() == said
            assert {k: v for k,v in snapshot(catalog).items() if v != before[k]} == as_now(changed)
            assert {k for k,o in snapshot(catalog).items() if not (catalog.folder/o[-1]).exists()} == {gone}
        assert catalog.undo() == 'There is nothing to undo.'


def test_gather_takes_nothing_again_and_check_decides_nothing_anew(old, p):
    with Catalog(p.folder) as catalog, catalog.db: # the photos that were rejected are where they were
        catalog.db.execute("update rejected set url=replace(url, 'file:///home/you', ?)", (old.as_uri(),))
    assert list(gather(p).counts) == ['total'] # nothing was found that is new
    check(p)
    with Catalog(p.folder) as catalog:
        assert snapshot(catalog) == as_now(EXPECTED['photos'])
        assert catalog.frame().set_index('sha256').split.to_dict() == EXPECTED['split']


def test_ids_never_come_back(p):
    with Catalog(p.folder) as catalog:
        for table in 'photos','history','moves':
            assert catalog.db.execute('select sql from sqlite_master where name=?', (table,)).fetchone()[0].count('autoincrement') == 1
        last = catalog.frame('all').id.max()
        with catalog.db: catalog.db.execute('delete from photos where id=?', (int(last),))
        file = catalog.add('squash', b'1', '.jpg')
        assert catalog.frame().set_index('file').id[file] > last


def test_a_catalog_of_a_newer_version_is_left_alone(p):
    with Catalog(p.folder) as catalog: catalog.db.execute('pragma user_version=99')
    before = (p.folder/'ledger.db').read_bytes()
    with pytest.raises(TellapartError, match='ledger.db is of a newer version of tellapart .*; update tellapart'): Catalog(p.folder)
    assert (p.folder/'ledger.db').read_bytes() == before


HISTORY = """create table history (
    id integer primary key, decision integer not null, time text not null, what text not null,
    photo integer not null references photos, old text not null, new text not null, undone integer not null default 0)"""
FIRST = 'source text, query text, url text, page text, licence text, phash text, width integer, height integer, grp text, split text'
SECOND = f'{FIRST}, title text, creator text, licence_url text, thing text, warnings text'
THIRD = f"{SECOND.replace('source', 'origin')}, taken text, series text, places text"
TRANSIENT = ', step text, passing integer'
SCHEMAS = { # as they were before catalogs had a version: columns of photos, more columns of refused, another table or index
    'the first': (FIRST, '', 'create table moves (id integer primary key, src text not null, dst text)'),
    'warnings and objects': (SECOND, TRANSIENT, 'create index history_decision on history (decision)'),
    'split positions': (THIRD, TRANSIENT, 'create table labels (label text primary key)'),
    'renamed': ('origin text, url text, object_id text, phash text, group_id text, split text, split_positions text', TRANSIENT,
                'create table marks (photo integer primary key references photos, what text not null, time text)')}
TABLES = 'photos','history','moves','marks','labels','rejected'


@pytest.mark.parametrize('version', SCHEMAS)
def test_schemas_without_a_version(tmp_path, version):
    columns,rejected,more = SCHEMAS[version]
    (tmp_path/'photos/cat').mkdir(parents=True)
    (tmp_path/'photos/cat/cat-00000000.jpg').write_bytes(b'1')
    db = sqlite3.connect(tmp_path/'ledger.db')
    db.execute(f"""create table photos (id integer primary key, file text unique not null, label text not null, {columns},
                   sha256 text not null, status text not null default 'ok', reason text)""")
    refused = f'create table refused (url text, label text, query text, reason text, time text{rejected}, primary key (url, label))'
    for o in 'create index photos_sha on photos (sha256)',HISTORY,refused,more: db.execute(o)
    origin,group = ('source' if 'source text' in columns else 'origin'),('grp' if 'grp text' in columns else 'group_id')
    with db:
        db.execute(f"""insert into photos (file, label, {origin}, url, {group}, split, sha256, status, reason) values
                       ('cat-00000000.jpg', 'cat', 'own', 'http://x/1', 'g', 'valid', '{'0'*64}', 'ok', 'brought back')""")
        db.execute("""insert into history (decision, time, what, photo, old, new) values
                      (1, '', 'add', 1, '{}', '{"file": "cat-00000000.jpg", "label": "cat", "status": "ok"}'),
                      (2, '', 'set aside', 1, '{"status": "ok", "reason": null}', '{"status": "aside", "reason": "blurred"}'),
                      (3, '', 'bring back', 1, '{"status": "aside", "reason": "blurred"}', '{"status": "ok", "reason": "brought back"}')""")
        db.execute("insert into refused (url, label, query, reason, time) values ('http://x/2', 'cat', 'cat', 'HTTP 404', '')")
    db.close()
    with Catalog(tmp_path) as catalog, Catalog(tmp_path/'new') as new:
        def schema(o): return [o.db.execute('select sql from sqlite_master where name=?', (t,)).fetchone()[0] for t in TABLES]
        assert schema(catalog) == schema(new)
        row = catalog.frame().iloc[0]
        assert [row[o] for o in ('origin', 'group_id', 'split', 'url', 'reason')] == ['own', 'g', 'valid', 'http://x/1', 'restored']
        assert catalog.seen_urls('cat') == {'http://x/1', 'http://x/2'}
        assert catalog.undo() == 'Undone: bring back, 1 photo.' and catalog.frame('aside').reason.tolist() == ['blurred']
        assert catalog.undo() == 'Undone: set aside, 1 photo.' and catalog.frame().path[0].read_bytes() == b'1'


def test_a_migration_that_fails_changes_nothing(p, monkeypatch):
    "All of it is one transaction"
    from tellapart import catalog as module
    def fail(db): raise RuntimeError('power cut')
    before = sqlite3.connect(p.folder/'ledger.db').execute('select sql from sqlite_master').fetchall()
    monkeypatch.setattr(module, '_MIGRATIONS', (*module._MIGRATIONS, fail))
    with pytest.raises(RuntimeError): Catalog(p.folder)
    db = sqlite3.connect(p.folder/'ledger.db')
    assert db.execute('select sql from sqlite_master').fetchall() == before and db.execute('pragma user_version').fetchone() == (0,)


def test_the_export_predicts_the_same(old):
    files = [old/o for o in EXPECTED['classify']]
    for (label,ranked,confident),found in zip(EXPECTED['classify'].values(), Classifier(old/'project/data/rackets/export.pkl').many(files)):
        assert (found.label, found.confident) == (label, confident)
        assert dict(found.ranked).keys() == ranked.keys() and np.allclose([v for _,v in found.ranked], list(ranked.values()), atol=1e-3)
    assert {o[2] for o in EXPECTED['classify'].values()} == {True, False}


def test_sorting_goes_on_and_is_undone(old, p, capsys):
    def below(folder): return sorted(o.relative_to(folder).as_posix() for o in folder.rglob('*') if o.is_file() and o.name[0] != '.')
    assert below(old/'sorted') == EXPECTED['sorted']
    sort(old/'heap', old/'sorted', p.export)
    assert '6 sorted before' in capsys.readouterr().out and below(old/'sorted') == EXPECTED['sorted']
    shutil.copy(old/'ood/1.jpg', old/'heap/new.jpg')
    sort(old/'heap', old/'sorted', p.export)
    assert (old/'sorted/unsure/new.jpg').exists()
    undo(old/'sorted')
    assert not [o for o in below(old/'sorted') if o.endswith('.jpg')]
    assert below(old/'moved') == ['0.jpg', '1.jpg'] and 'new.jpg' in below(old/'heap')


def test_corrections_of_sorted_photos_are_reviewed(old, p, capsys):
    copied,moved = old/'sorted/badminton/tennis 2.jpg',next((old/'sorted').glob('*/0.jpg'))
    (old/'sorted/squash').mkdir()
    for o in copied,moved: o.rename(old/'sorted/squash'/o.name)
    review(old/'sorted', p)
    assert 'Moved to another label: 2 of 8 sorted photos' in capsys.readouterr().out
    with Catalog(p.folder) as catalog: df = catalog.frame()
    feedback = df[df.origin == 'feedback']
    assert feedback.label.tolist() == ['squash']*2 and {Path(o).name for o in feedback.url} == {'tennis%202.jpg', '0.jpg'}
