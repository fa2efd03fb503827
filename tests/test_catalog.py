"The catalog's answers to what comes from outside: files that go, text that isn't valid, photos that come back"
import json
import pytest

pytest.importorskip('pandas')
from tellapart.catalog import Catalog
from tellapart.errors import TellapartError


def in_step(folder):
    "Whether each row has its file, and each file its row"
    with Catalog(folder) as catalog: df = catalog.frame('all')
    files = {o for top in ('photos', 'aside') for o in (folder/top).rglob('*') if o.is_file()}
    return set(df.path) == files


def test_a_staged_file_that_has_gone_is_reported(tmp_path):
    "And the photo can be staged again"
    with Catalog(tmp_path) as catalog:
        photo = dict(label='a', sha256='0'*64, suffix='.jpg', file=catalog.stage(b'1'))
        (tmp_path/photo['file']).unlink()
        with pytest.raises(TellapartError, match='have gone from .*incoming.*run this step again'): catalog.commit([photo])
        assert catalog.commit([photo | dict(file=catalog.stage(b'1'))]) == ['a-00000000.jpg'] and in_step(tmp_path)


def test_a_lone_surrogate_of_a_search_engine(tmp_path):
    "It is stored escaped; a catalog that already has one can be read"
    title = 'half an apple \ud83c'
    with Catalog(tmp_path) as catalog:
        catalog.add('a', b'1', '.jpg', title=title, url='http://x.org/\ud83c')
        catalog.commit(rejected=[dict(url='http://x.org/\ud83d', label='a', query='a', reason='HTTP 404', step='fetch', transient=False)])
        assert catalog.frame().title[0] == r'half an apple \ud83c'
        assert catalog.seen_urls('a') == {r'http://x.org/\ud83c', r'http://x.org/\ud83d'}
        with catalog.db: catalog.db.execute("update photos set title=json_extract(?, '$')", (json.dumps(title),)) # as it was once written
    with Catalog(tmp_path) as catalog: assert catalog.frame().title[0].startswith('half an apple ')


def test_a_file_that_was_not_staged_is_never_removed(tmp_path):
    "Somebody puts a photo back under a label that it had once: it isn't taken in, and stays where it is"
    with Catalog(tmp_path) as catalog:
        name = catalog.add('a', b'1', '.jpg')
        catalog.apply(labels={name: 'b'})
        (mine := tmp_path/'photos/a/mine.jpg').write_bytes(b'1')
        row = dict(catalog.db.execute('select * from photos').fetchone())
        assert catalog.commit([dict(label='a', sha256=row['sha256'], suffix='.jpg', file='photos/a/mine.jpg')]) == [None]
        assert mine.read_bytes() == b'1'
