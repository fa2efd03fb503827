"Each notebook of the course: what it promises, its exercises, and the words that it explains"
import json, re
from pathlib import Path
import pytest

ROOT = Path(__file__).resolve().parents[2]
LESSONS = sorted(ROOT.glob('notebooks/0*.ipynb'))


def cells(file): return [(o['cell_type'], ''.join(o['source']), o['metadata']) for o in json.loads(file.read_text('utf-8'))['cells']]


@pytest.mark.parametrize('lesson', LESSONS, ids=lambda o: o.stem)
def test_a_lesson(lesson):
    "It opens with what one will have and how long it takes, and ends with cures, three exercises, and answers that are folded"
    found = cells(lesson)
    opening = found[0][1]
    assert re.search(r'\*\*By the end of this notebook.+?\*\*\n\n\*Takes .+?\*', opening, re.S), opening
    prose = [text for kind,text,_ in found if kind == 'markdown']
    assert any(o.startswith('## When it goes wrong') and 'troubleshooting.md' in o for o in prose)
    exercises = next(o for o in prose if o.startswith('## Exercises'))
    answers = [meta for kind,_,meta in found if 'answer' in meta.get('tags', ())]
    assert len(re.findall(r'^\d\. ', exercises, re.M)) == len(answers) == 3
    assert all(o['jupyter'] == dict(source_hidden=True, outputs_hidden=True) and 'hide-cell' in o['tags'] for o in answers)


DRAWS = re.compile(r'\.(?:show_batch|lr_find|plot_top_losses)\(|^(?:funnel|contact_sheet|show_resize_methods)\(', re.M)

@pytest.mark.parametrize('lesson', LESSONS, ids=lambda o: o.stem)
def test_a_picture_is_seen_where_one_is_drawn(lesson):
    drawn = [o for o in json.loads(lesson.read_text('utf-8'))['cells'] if o['cell_type'] == 'code' and DRAWS.search(''.join(o['source']))]
    without = [''.join(o['source']) for o in drawn if not any(k.startswith('image/') for out in o['outputs'] for k in out.get('data', {}))]
    assert not without


def test_words_are_explained_at_their_first_use():
    "Each link into the glossary leads to a word, no word is linked twice, and none is used before it is linked"
    words = re.findall(r'^## (.+)', (ROOT/'docs/glossary.md').read_text('utf-8'), re.M)
    anchors = {re.sub(r'[^\w -]', '', o.lower()).replace(' ', '-'): o for o in words}
    prose = '\n'.join(text for lesson in LESSONS for kind,text,_ in cells(lesson) if kind == 'markdown')
    links = re.findall(r'\[([^\]]+)\]\(\.\./docs/glossary\.md#([^)]+)\)', prose)
    assert len(words) >= 40 and {anchor for _,anchor in links} <= anchors.keys() and len(links) == len(dict(o[::-1] for o in links)) > 20
    plain = re.sub(r'`[^`]*`|^#.*|^\|.*|^\*\*By the end.*', '', prose, flags=re.M)
    early = [text for text,_ in links if re.search(rf'(?<![\w-]){re.escape(text)}(?![\w-])', plain.partition(f'[{text}](../docs')[0])]
    assert not early
