"Ten thousand photos, and a kill half-way: each is sorted once, memory doesn't grow with them, and undo leaves all as it was"
import os, subprocess, sys, time
import pytest
from tellapart.use.sort.journal import CSV, read_rows

pytestmark = pytest.mark.slow


def command(*args): return [sys.executable, '-m', 'tellapart', *map(str, args)]


def peak_memory(process):
    "Wait for a process; MB of memory that it held at most"
    psutil = pytest.importorskip('psutil')
    watched,most = psutil.Process(process.pid),0
    while process.poll() is None:
        try: most = max(most, watched.memory_info().rss/1e6)
        except psutil.NoSuchProcess: break
        time.sleep(.1)
    assert process.wait() == 0
    return most


def heap(folder, photos, n):
    "Put `n` photos into a folder that differ in their last bytes"
    folder.mkdir()
    for i in range(n):
        photo = photos[i % len(photos)]
        (folder/f'{i:05}{photo.suffix}').write_bytes(photo.read_bytes() + i.to_bytes(4, 'big'))
    return folder


def test_ten_thousand_photos(export_pkl, tmp_path):
    photos = sorted(export_pkl.parent.glob('photos/*/*'))
    few,many,to = heap(tmp_path/'few', photos, 500), heap(tmp_path/'many', photos, 10_000), tmp_path/'sorted'
    usual = peak_memory(subprocess.Popen(command('sort', few, '--to', tmp_path/'few sorted', '--export', export_pkl)))
    first = subprocess.Popen(command('sort', many, '--to', to, '--export', export_pkl, '--move'))
    while not (to/CSV).exists() or sum(1 for _ in (to/CSV).open('rb')) < 3000: time.sleep(.1)
    first.kill()
    first.wait()
    assert peak_memory(subprocess.Popen(command('sort', many, '--to', to, '--export', export_pkl, '--move'))) < 1.5*usual
    rows = [o for o,_ in read_rows(to/CSV)]
    assert len(rows) == len({o.sha256 for o in rows}) == 10_000 and all((to/o.to).exists() for o in rows) and not any(many.iterdir())
    subprocess.run(command('undo', to), check=True)
    assert {o.name for o in many.iterdir()} == {f'{i:05}{photos[i % len(photos)].suffix}' for i in range(10_000)}
    assert not any(os.path.exists(to/o.to) for o in rows)
