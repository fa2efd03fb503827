"Project files: those that come with the course, new ones, invalid ones, and ones of older versions"
import os, subprocess, sys
from pathlib import Path
import pytest
from tellapart.errors import TellapartError
from tellapart.project import new_project, read_project, summary, add_summary, clear_summary

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize('file', [ROOT/'tellapart.toml', *sorted((ROOT/'projects').glob('*.toml'))], ids=lambda o: o.stem)
def test_loads(file):
    p = read_project(file)
    assert len(p.labels) >= 3 and all(p.labels.values())
    assert p.folder.resolve().parent == ROOT/'data'
    assert file.stem in ('tellapart', 'rackets') or p.name == file.stem


def test_six_projects_come_with_the_course():
    assert {o.stem for o in (ROOT/'projects').glob('*.toml')} >= {'rackets', 'bears', 'furniture', 'cartoons', 'icons', 'emotions'}


@pytest.mark.parametrize('text, message', [
    ('', "'name' is missing; add it."),
    ('name = "x"\nlabels = {a = "a", "b/c" = "b"}\n', "the label 'b/c' can't be a folder's name"),
    ('name = "x"\nlabels = {a = "a", ".." = "b"}\n', "the label '..' can't be a folder's name"),
    (None, "doesn't exist; make a project by: tellapart new NAME LABEL LABEL")])
def test_a_run_stops_with_a_sentence_and_makes_nothing(tmp_path, text, message):
    file = tmp_path/'mine.toml'
    if text is not None: file.write_text(text)
    run = subprocess.run([sys.executable, '-m', 'tellapart', 'run', '--project', file], cwd=tmp_path,
                         env=os.environ | dict(TELLAPART_PROJECT=''), capture_output=True, text=True)
    assert run.returncode == 1 and run.stdout == ''
    assert run.stderr.startswith(f'tellapart: {file}') and message in run.stderr and run.stderr.count('\n') == 1
    assert [o.name for o in tmp_path.iterdir()] == (['mine.toml'] if text is not None else [])


FRUITS = 'name = "fruits"\n[labels]\napple = "apple"\npear = "pear"\n'

@pytest.mark.parametrize('text, message', [
    ('name = "x"\ncafé = "a"\n', 'in line 2 (café = "a"): put the name in quotes'),
    ('犬 = "dog"\n', 'in line 1 (犬 = "dog"): put the name in quotes'),
    ('[café]\n', 'in line 1 ([café]): put the name in quotes'),
    ('two seat sofa = "a"\n', 'in line 1 (two seat sofa = "a"): put the name in quotes'),
    ('name = fruits\n', 'in line 1 (name = fruits): put the value in quotes'),
    ('name = “fruits”\n', 'in line 1 (name = “fruits”): use straight quotes'),
    ('name: "fruits"\n', 'write = instead of the colon'),
    ('name = "fruits\n', 'close the quote or the bracket'),
    ('labels = ["a",\n', 'close'),
    ('honour_noai = True\n', 'write true and false in lower case'),
    ('name = "a"\nname = "b"\n', 'in line 2 (name = "b"): it is there already'),
    ('own = "C:\\Users\\me"\n',
     'in line 1 (own = "C:\\Users\\me"): a backslash is an escape character in double quotes; use single quotes, or forward slashes'),
    ('own = "C:\\temp"\n' + FRUITS, "'own' is 'C:\\temp'; a backslash is an escape character in double quotes"),
    ('labels = "apple"\nname = "x"\n', "it should be a table: [labels] on a line of its own"),
    ('train = 3\n' + FRUITS, "'train' is 3; it should be a table"),
    (FRUITS + 'source = "folder"\n', "'source' is in [labels]; move it above the first line in brackets"),
    (FRUITS + 'csv = "my photos.csv"\n', "'csv' is in [labels]; move it above the first line in brackets"),
    (FRUITS + '[train]\nper_label = 9\n', "'per_label' is in [train]; move it above the first line in brackets"),
    ('epochs = 9\n' + FRUITS, "'epochs' is outside of all tables; move it below [train]"),
    (FRUITS.partition('\n')[2] + 'name = "x"\n', "'name' is in [labels]; move it above"),
    (FRUITS + '"caf\u00e9" = "a"\n"cafe\u0301" = "b"\n', 'are the same name on systems'),
    (FRUITS + '[train]\nseed = -1\n', "'train.seed' is -1; it should be greater than or equal to 0"),
    ('timeout = inf\n' + FRUITS, "'timeout' is inf; it should be less than or equal to 3600"),
    (FRUITS + '[limits]\nmax_ratio = 0.5\n', "'limits.max_ratio' is 0.5; it should be greater than or equal to 1"),
    (FRUITS + '[limits]\nmax_pixels = 0\n', "'limits.max_pixels' is 0; it should be greater than 0")])
def test_a_mistake_is_reported_with_a_hint(tmp_path, text, message):
    (file := tmp_path/'fruits.toml').write_text(text, 'utf-8')
    with pytest.raises(TellapartError) as e: read_project(file)
    assert message in str(e.value) and str(e.value).startswith(str(file)) and '\n' not in str(e.value)


def test_labels_may_be_called_like_keys_and_a_byte_order_mark_does_no_harm(tmp_path):
    (file := tmp_path/'bridges.toml').write_text('\ufeff' + FRUITS + 'arch = "arch bridge"\ndata = "data"\nsource = "spring"\n', 'utf-8')
    assert list(read_project(file).labels) == ['apple', 'arch', 'data', 'pear', 'source']


NEW_KEYS = 'respect_opt_out = false\n' + FRUITS + '[train]\nresize_method = "squish"\n'
OLD_KEYS = 'honour_noai = false\n' + FRUITS + '[train]\nsquare = "squish"\n'

def test_keys_of_older_versions_work_with_one_warning(tmp_path, capsys):
    (file := tmp_path/'fruits.toml').write_text(NEW_KEYS)
    new = read_project(file)
    assert capsys.readouterr() == ('', '') and (new.respect_opt_out, new.train.resize_method) == (False, 'squish')
    file.write_text(OLD_KEYS)
    assert read_project(file) == new
    out,err = capsys.readouterr()
    renamed = "'honour_noai' is now called 'respect_opt_out', 'square' is now called 'resize_method'"
    assert (out, err) == ('', f'{file}: {renamed}; the old name still works.\n')


def test_the_weights_hub_of_older_versions_are_the_pretrained_ones(tmp_path, capsys):
    (file := tmp_path/'fruits.toml').write_text(FRUITS + '[train]\nweights = "hub"\n')
    assert read_project(file).train.weights == 'pretrained'
    assert capsys.readouterr().err == f"{file}: the weights 'hub' are now called 'pretrained'; the old name still works.\n"


@pytest.mark.parametrize('text, old, new', [('honour_noai = false\n' + NEW_KEYS, 'honour_noai', 'respect_opt_out'),
                                            (NEW_KEYS + 'square = "squish"\n', 'square', 'resize_method')])
def test_an_old_key_beside_the_new_one_is_an_error(tmp_path, text, old, new):
    (file := tmp_path/'fruits.toml').write_text(text)
    with pytest.raises(TellapartError) as e: read_project(file)
    assert str(e.value) == f"{file}: '{old}' is the old name of '{new}', and both are there; remove '{old}'."


def test_a_file_in_another_encoding_is_reported(tmp_path):
    (file := tmp_path/'fruits.toml').write_text(FRUITS, 'utf-16')
    with pytest.raises(TellapartError, match="isn't text in UTF-8; save it again in UTF-8"): read_project(file)


def test_new_files_hold_any_letters(tmp_path):
    "Letters that JSON escapes as two, and an accent that a Mac's terminal sends as two characters"
    p = read_project(new_project('picnic', ['🍎', '犬', 'cafe\u0301', "it's"], tmp_path/'projects'))
    assert list(p.labels) == ['caf\u00e9', "it's", '犬', '🍎'] and p.use_all_own


def test_new_leaves_no_invalid_file(tmp_path):
    for labels in (['a', '\udce9'], ['a', 'A'], ['a', 'aux.txt']):
        with pytest.raises(TellapartError): new_project('x', labels, tmp_path)
    (tmp_path/'file').touch()
    with pytest.raises(TellapartError, match="can't be written"): new_project('x', ['a', 'b'], tmp_path/'file')
    assert [o.name for o in tmp_path.iterdir()] == ['file']


def test_a_summary_may_hold_names_that_are_not_valid_text(tmp_path, capsys):
    p = read_project(new_project('fruits', ['apple', 'pear'], tmp_path/'projects'))
    add_summary(p, gather='There is no folder caf\udce9.' if os.name != 'nt' else 'There is no folder.')
    add_summary(p, check='Nothing.')
    assert list(summary(p)) == ['gather', 'check']
    (p.folder/'summary.json').write_text('{"gather": "cut sho')
    assert summary(p) == {}
    clear_summary(p)
    clear_summary(p)
