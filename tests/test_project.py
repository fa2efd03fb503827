"The projects that come along, and one made anew"
import os, subprocess, sys
from pathlib import Path
import pytest
from tellapart.learn.project import read_project

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize('file', [ROOT/'tellapart.toml', *sorted((ROOT/'projects').glob('*.toml'))], ids=lambda o: o.stem)
def test_loads(file):
    p = read_project(file)
    assert len(p.labels) >= 3 and all(p.labels.values())
    assert p.folder.resolve().parent == ROOT/'data'
    assert file.stem in ('tellapart', 'rackets') or p.name == file.stem


def test_there_are_the_six():
    assert {o.stem for o in (ROOT/'projects').glob('*.toml')} >= {'rackets', 'bears', 'furniture', 'cartoons', 'icons', 'emotions'}


@pytest.mark.parametrize('text, told', [
    ('', "'name' is missing; add it."),
    ('name = "x"\nlabels = {a = "a", "b/c" = "b"}\n', "the label 'b/c' can't be a folder's name"),
    ('name = "x"\nlabels = {a = "a", ".." = "b"}\n', "the label '..' can't be a folder's name"),
    (None, "doesn't exist; make a project by: tellapart new NAME LABEL LABEL")])
def test_a_run_stops_with_a_sentence_and_makes_nothing(tmp_path, text, told):
    file = tmp_path/'mine.toml'
    if text is not None: file.write_text(text)
    run = subprocess.run([sys.executable, '-m', 'tellapart', 'run', '--project', file], cwd=tmp_path, env=os.environ | dict(TELLAPART_PROJECT=''), capture_output=True, text=True)
    assert run.returncode == 1 and run.stdout == ''
    assert run.stderr.startswith(f'tellapart: {file}') and told in run.stderr and run.stderr.count('\n') == 1
    assert [o.name for o in tmp_path.iterdir()] == (['mine.toml'] if text is not None else [])
