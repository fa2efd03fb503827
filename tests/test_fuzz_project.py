"Generated project files: each gives a project or an error message, and a new project can be read again"
import tempfile
from dataclasses import fields
from pathlib import Path
from hypothesis import example, given, strategies as st
from fuzzing import fuzz
from tellapart.errors import TellapartError
from tellapart.images import Limits
from tellapart.project import new_project, Project, read_project, Search, Train

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
KEYS = [*Project.model_fields, *Train.model_fields, *Search.model_fields, *(o.name for o in fields(Limits))]
SIGNS = [*'=:"\'“”[]{},\n\\#.', ' = ', '"""', '\ufeff', '\x7f', '\0']
VALUES = ['1', '-1', '1e999', 'nan', 'true', 'True', '"x"', '"C:\\Users"', '"C:\\temp"', '1979-05-27']
PIECE = st.sampled_from([*KEYS, *SIGNS, *VALUES, 'apple', 'café', '[train]', '[[labels]]', '[labels]']) | st.text(max_size=5)


@st.composite
def texts(draw):
    "`GOOD` with pieces inserted, removed and replaced; or only pieces"
    if draw(st.integers(0, 4)) == 0:
        return ''.join(draw(st.lists(PIECE, max_size=12)))
    text = GOOD
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(PIECE) + text[at + draw(st.sampled_from([0, 0, 1, 3, 10])):]
    return text


def read(data):
    "The project in a file, or a check of the error message"
    with tempfile.TemporaryDirectory() as folder:
        (file := Path(folder)/'tellapart.toml').write_bytes(data)
        try:
            return read_project(file)
        except TellapartError as e:
            message = str(e)
            assert message.startswith(str(file)) and message.endswith('.') and message.isprintable() and len(message) < 1000, message


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
@given(st.text(max_size=12) | st.just('fruits'),
       st.lists(st.text(max_size=12) | st.sampled_from(['🍎', 'aux', 'a"b', 'a\\b', 'CON.txt']), max_size=4))
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
