"Whatever files, folders and labels are called, photos are sorted, and undo restores them"
import hashlib, io, ntpath, os, tempfile, unicodedata
from collections import Counter
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path, PureWindowsPath
from unittest.mock import patch
import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from PIL import Image
from fuzzing import fuzz
from tellapart.images import has_image_name
from tellapart.use.sort import sort as module
from tellapart.spreadsheets import escape_formula, unescape_formula
from tellapart.use.sort.journal import _line, CSV, HEADER, Row, read_rows
from tellapart.use.classifier import Classifier
from tellapart.paths import canonical_name, safe_name
from tellapart.use.sort.layout import LAYOUTS, UNSURE_FOLDER, folder_for, label_folders, label_in

DEVICES = ['CON', 'con.txt', 'aux.jpg', 'COM1', 'lpt9.tar.gz', 'nul .x', 'CONIN$', 'com¹', 'CONOUT$.png', 'prn']
ODD = [*DEVICES, '', '.', '..', '...', ' ', 'a.', 'a ', 'C:', r'..\x', r'\\srv\share', '<>:"|?*', 'ﬀ', 'ſ', 'İ', 'ß',
       'é', 'e\u0301', 'Å', '\u212b', '가', '\u1100\u1161', '\ufeff', '\u200f',
       '=1+1', "'=1", '-x', '@', 'unsure', 'sheets', "can't be opened", 'x'*300, 'é'*200, '😀'*80, '\udce9', '\ud83d', 'a\nb',
       '.hidden', 'desktop.ini', '#', '%41', '&amp;', '*', '[1]', '~', '$HOME']
SUFFIXES = ['', '.jpg', '.JPG', '.png', '.jpeg', '.txt', '.mp4', '.b'*90]

letters = st.sampled_from('aA.éE\u0301\u0345 _-/\\:\0\n\udc80\ud800😀CONcon1$')
texts = st.one_of(st.sampled_from(ODD), st.text(max_size=300), st.text(letters, max_size=12))
names = st.builds(str.__add__, st.builds(str.__add__, texts, texts), st.sampled_from(SUFFIXES))
def encoded(name): return name.encode('utf-8', 'surrogatepass')[:255]
# names as file systems have them: bytes that may not be text
files = st.one_of(st.binary(min_size=1, max_size=255), names.map(encoded), names.map(lambda o: encoded(unicodedata.normalize('NFD', o))))
files = files.map(lambda o: o.replace(b'/', b'').replace(b'\0', b'')).filter(lambda o: o not in (b'', b'.', b'..'))

photo = io.BytesIO()
Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), 'uint8')).save(photo, 'PNG')
PHOTO = photo.getvalue() # what comes after it changes the file and not the picture


@pytest.fixture(scope='module', autouse=True)
def classify(export_pkl):
    "One model for all examples"
    model = Classifier(export_pkl)
    with patch.object(module, 'Classifier', lambda export: model), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()): yield


def reserved(name): return getattr(ntpath, 'isreserved', lambda o: PureWindowsPath(o).is_reserved() or o.endswith(('.', ' ')))(name)


@fuzz
@given(names, st.sampled_from(['', '-3f9a21c0', '-' + '3f9a21c0'*8]))
def test_fuzz_a_safe_name(name, mark):
    "A safe name is short enough, no device, has no forbidden character, stays the same, and has its mark"
    safe = safe_name(name, mark)
    assert safe == safe_name(safe) and mark in safe and len(safe.encode()) <= 255 and not reserved(safe)
    assert safe not in ('', '.', '..') and not set(safe) & {*map(chr, range(32)), *'\x7f<>:"/\\|?*'}
    for layout in LAYOUTS:
        place = PureWindowsPath('D:/sorted')/folder_for([name], safe, layout)/safe
        assert place.is_relative_to('D:/sorted') and '..' not in place.parts and len(place.parts) == (4 if layout == 'label' else 5)


@fuzz
@given(texts, st.sampled_from(['NFC', 'NFD', 'NFKC']), st.sampled_from([str, str.upper, str.lower, str.casefold, str.swapcase]))
def test_fuzz_names_that_are_alike(name, form, case):
    "A canonical name is the same for a name's other forms and cases"
    assert canonical_name(canonical_name(name)) == canonical_name(name)
    if form != 'NFKC': assert canonical_name(unicodedata.normalize(form, name)) == canonical_name(name)
    name = unicodedata.normalize('NFD', name) # elsewhere, an accent that becomes a letter changes places with others (U+0345 U+0300)
    if case(name).casefold() == name.casefold(): assert canonical_name(case(name)) == canonical_name(name)


@fuzz
@given(st.lists(texts, unique=True, max_size=8))
def test_fuzz_folders_of_labels(labels):
    "Each label has a folder of its own, never that of unconfident predictions"
    folders = label_folders(labels)
    assert list(folders) == labels and len({canonical_name(o) for o in folders.values()}) == len(labels)
    assert all(safe_name(o) == o and canonical_name(o) not in (UNSURE_FOLDER, 'sheets', "can't be opened") for o in folders.values())
    for o in folders.values():
        for layout in LAYOUTS: assert label_in(f'{folder_for(["x"], o, layout)}/a.jpg', layout) == o


@fuzz
@given(st.lists(st.one_of(texts, files.map(os.fsdecode)), min_size=12, max_size=12))
def test_fuzz_rows_of_the_table(cells):
    "Rows are read as they were written, and no cell begins like a formula"
    cells = [o.encode('utf-8', 'surrogatepass').decode('utf-8', 'surrogateescape') for o in cells] # surrogates are for bytes alone
    assert all(unescape_formula(escape_formula(o)) == o and not escape_formula(o).startswith(('=', '+', '-', '@')) for o in cells)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder)/CSV
        file.write_bytes(HEADER + _line(Row(*cells)) + _line(Row('/a.jpg')))
        assert [o for o,_ in read_rows(file)] == [Row(*cells), Row('/a.jpg')]


def content(folder):
    "Hashes by place, as bytes"
    found = {}
    for at,_,names in os.walk(os.fsencode(folder)):
        for o in (os.path.join(at, o) for o in names):
            with open(o, 'rb') as f: found[os.path.relpath(o, os.fsencode(folder))] = hashlib.sha256(f.read()).hexdigest()
    return found


@fuzz
@given(st.lists(st.tuples(files, files), min_size=1, max_size=5), st.sampled_from(['copy', 'move', 'link']), st.sampled_from(LAYOUTS))
def test_fuzz_sort_and_undo(places, how, layout):
    "Every photo that isn't hidden gets a valid path, or its row says why not; a second run does nothing; undo restores everything"
    with tempfile.TemporaryDirectory() as tmp:
        source,to = os.path.join(tmp, 'photos'),os.path.join(tmp, 'sorted')
        for i,(folder,name) in enumerate(places):
            place = os.path.join(os.fsencode(source), folder)
            try:
                os.makedirs(place, exist_ok=True)
                with open(os.path.join(place, name), 'xb') as f: f.write(PHOTO + bytes([i]))
            except OSError: pass # this system has no room for such a name
        before = content(source)
        is_hidden = lambda path: any(part.startswith(b'.') for part in path.split(b'/'))
        photos = [o for o in before if not is_hidden(o) and has_image_name(os.fsdecode(o.rpartition(b'/')[2]))]
        assume(photos)
        module.sort(source, to, 'export.pkl', how, layout)
        table = [o for o,_ in read_rows(os.path.join(to, CSV))]
        went = {os.fsencode(o.to): o.sha256 for o in table if o.to}
        assert Counter(os.fsencode(os.path.relpath(o.path, source)) for o in table) == Counter(photos) and len(went) == len(photos)
        there = {k: v for k,v in content(to).items() if not k.startswith((b'sheets/', b'.sorted')) and k != CSV.encode()}
        assert there == went and sorted(went.values()) == sorted(before[o] for o in photos)
        assert all(safe_name(part) == part for o in table for part in o.to.split('/') if o.to)
        assert len({canonical_name(o.to) for o in table}) == len(photos)
        now = content(tmp)
        module.sort(source, to, 'export.pkl', how, layout)
        assert content(tmp) == now
        module.undo(to)
        assert content(source) == before and [o for o in content(to) if b'/' in o] == []
