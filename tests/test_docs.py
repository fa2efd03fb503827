"What the documents name is there"
import re
from importlib import import_module
from pathlib import Path
import pytest

pytest.importorskip('fastai')
ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), ROOT/'benchmarks/README.md']
PAGES = [o for o in PAGES if o.name != 'CHANGELOG.md'] # which also names what was


def found(name):
    "Whether a dotted name leads to a module or to something in one"
    parts = name.split('.')
    for n in range(len(parts), 0, -1):
        try: o = import_module('.'.join(parts[:n]))
        except ModuleNotFoundError: continue
        for part in parts[n:]:
            if not hasattr(o, part):
                return False
            o = getattr(o, part)
        return True
    return False


def test_found():
    assert found('tellapart.use.classifier.Classifier.many')
    assert not found('tellapart.use.classifier.nothing') and not found('tellapart.nothing')


@pytest.mark.parametrize('page', PAGES, ids=lambda o: o.name)
def test_names_and_links_lead_somewhere(page):
    text = page.read_text('utf-8')
    assert not [o for o in re.findall(r'`(tellapart(?:\.\w+)+)`', text) if o != 'tellapart.toml' and not found(o)]
    links = [o.partition('#')[0] for o in re.findall(r'\]\((?!https?:)([^)\s]+)\)', text)]
    assert not [o for o in links if o and not (page.parent/o).exists()]
