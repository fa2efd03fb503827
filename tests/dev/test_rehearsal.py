"A whole project, from nothing to answers, as a person runs it"
import json, os, shutil, subprocess, sys
from pathlib import Path
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]


def tellapart(*args, cwd):
    env = os.environ | dict(TELLAPART_PROJECT='')
    done = subprocess.run([sys.executable, '-m', 'tellapart', *args], cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.training
def test_rehearsal_of_bears(tmp_path):
    (tmp_path/'projects').mkdir()
    shutil.copy(ROOT/'projects/bears.toml', tmp_path/'projects')
    told = tellapart('run', '--rehearse', '--project', 'projects/bears.toml', cwd=tmp_path)
    data = tmp_path/'data/bears-rehearsal'
    summary = json.loads((data/'summary.json').read_text('utf-8'))
    assert summary and told.endswith('\n'.join(summary.values()) + '\n')
    credited = set(pd.read_csv(data/'CREDITS.csv').file)
    assert credited == {o.name for o in (data/'photos').rglob('*') if o.is_file()} # also after cleaning
    photos = sorted((data/'working').rglob('*.jpg'))[::2]
    answers = [json.loads(o) for o in tellapart('classify', '--json', '--export', data/'export.pkl', *photos, cwd=tmp_path).splitlines()]
    assert [o['photo'] for o in answers] == [str(o) for o in photos]
    assert {o['label'] for o in answers} <= {'black', 'grizzly', 'teddy'}
    right = [o['label'] == Path(o['photo']).parent.name for o in answers]
    assert sum(right) > .8*len(right)
