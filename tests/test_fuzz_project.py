"Made-up project files: a project, or a sentence; and whatever is written can be read again"
import tempfile
from pathlib import Path
from hypothesis import example, given, strategies as st
from fuzzing import fuzz
from tellapart.errors import TellapartError
from tellapart.project import Project, _TABLES, new_project, read_project

GOOD = '''name = "fruits"
source = ["folder", "duckduckgo"]
per_label = 150
own = 'own'
[labels]
apple = "red apple"
pear = ["pear", "conference pear"]
plum = {"plum" = 10, "prune" = 5}
[search]
without = "toy"
[limits]
min_side = 32
[train]
size = 224
valid = {web = 0.2, own = 0.5}
'''
PIECE = st.one_of(st.sampled_from([*sum(_TABLES.values(), []), *_TABLES, 'apple', 'café', '=', ' = ', ':', '"', "'", '“', '”', '[', ']', '{', '}', ',', '\n', '\\', '"C:\\Users"', '"C:\\temp"', '"""', '#', '.', '1', '-1', '1e999', 'nan',
                                   'true', 'True', '"x"', '[train]', '[[labels]]', '[labels]', '\ufeff', '\x7f', '\0', '1979-05-27']), st.text(max_size=5))


@st.composite
def texts(draw):
    "The good file with pieces put in, taken out and exchanged; or nothing but pieces"
    if draw(st.integers(0, 4)) == 0:
        return ''.join(draw(st.lists(PIECE, max_size=12)))
    text = GOOD
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(PIECE) + text[at + draw(st.sampled_from([0, 0, 1, 3, 10])):]
    return text


def read(data):
    "What comes of a file: a project, or a sentence"
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder)/'tellapart.toml').write_bytes(data)
        try:
            return read_project(file)
        except TellapartError as e:
            said = str(e)
            assert said.startswith(str(file)) and said.endswith('.') and said.isprintable() and len(said) < 1000, said


@fuzz
@given(texts())
@example('x = ' + '['*5000)
@example('per_label = ' + '9'*5000)
@example('labels = 5')
def test_fuzz_files(text): read(text.encode('utf-8', 'surrogatepass'))


@fuzz
@given(st.binary(max_size=60))
@example('name = "x"'.encode('utf-16'))
def test_fuzz_bytes(data): read(data)


@fuzz
@given(st.text(max_size=12) | st.just('fruits'), st.lists(st.text(max_size=12) | st.sampled_from(['🍎', 'aux', 'a"b', 'a\\b', 'CON.txt']), max_size=4))
@example('fruits', ['🍎', '🍐'])
@example('fruits', ['\x7f', '\ud83c'])
def test_fuzz_a_new_project_is_read_again(name, labels):
    with tempfile.TemporaryDirectory() as folder:
        try: file = new_project(name, labels, folder)
        except TellapartError as e:
            return _nothing_is_left(folder, e)
        p = read_project(file)
        assert isinstance(p, Project) and len(p.labels) == len(labels) and all(terms == [label] for label,terms in p.labels.items())


def _nothing_is_left(folder, error):
    assert not list(Path(folder).iterdir()) and '\n' not in str(error), error
