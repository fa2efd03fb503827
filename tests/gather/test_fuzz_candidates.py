"Arbitrary candidates: gathering ends, records them, and the catalog stays readable"
import socket, tempfile
from pathlib import Path
from unittest.mock import patch
import pytest
from hypothesis import example, given, strategies as st
from fuzzing import fuzz
from tellapart.gather.gather import gather
from tellapart.catalog import Catalog
from tellapart.project import read_project
from tellapart.gather.sources import SOURCES, Candidate, source

text = st.text(st.characters(exclude_categories=())) # with lone surrogates
anything = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), text, st.lists(text), st.dictionaries(text, text))
port = st.one_of(st.integers(-1, 10**25).map(str), text)
scheme = st.sampled_from(['http', 'https', 'HTTP', 'ftp', 'data', ''])
address = st.one_of(text, st.builds('{}://{}:{}/{}'.format, scheme, text, port, text),
                    st.builds('http://localhost{}'.format, text), st.builds('http://[{}]/'.format, text))
candidate = st.builds(Candidate, st.one_of(address, anything), *[anything]*5, width=st.integers(), height=st.integers(), object_id=anything)


def nowhere(*_, **__): raise socket.gaierror


@pytest.mark.long
@fuzz
@given(st.lists(candidate, max_size=8))
@example([Candidate('http://x.org:99999999999999999999/a.jpg')])
@example([Candidate('http://x.org/\ud83d.jpg'), Candidate('http://x.org/a.jpg', title='half an apple \ud83c', object_id='\udfff')])
@example([Candidate('http://\ud83d.org/'), Candidate('http://x.org:0/'), Candidate('http://x.org:-1/'), Candidate('http:///a.jpg')])
def test_fuzz_candidates(candidates):
    def odd(term, p, label): yield from candidates if label == 'a' else ()
    with tempfile.TemporaryDirectory() as folder, patch.dict(SOURCES), patch.object(socket, 'getaddrinfo', nowhere):
        (file := Path(folder)/'tellapart.toml').write_text('name = "odd"\nsource = "csv"\ntimeout = 5\n[labels]\na = "a"\nb = "b"\n')
        SOURCES['csv'] = source(odd, by_term=False)
        gather(p := read_project(file))
        with Catalog(p.folder) as catalog: seen,rejected = catalog.seen_urls('a'),catalog.rejected()
        assert seen <= {o.url for o in candidates} and set(rejected.url) <= {o.url for o in candidates}
        transient = set(rejected.url[rejected.transient.astype(bool)])
        counts = gather(p).counts # tries only the transient failures again
        assert counts.found.sum() == len(transient) if len(transient) else 'found' not in counts
