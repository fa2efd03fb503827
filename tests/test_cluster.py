"Sorting with many machines: the same answers as on one, from folders and stores, whatever dies on the way"
import json, shutil, threading, time
import pytest
from tellapart.cli import main
from tellapart.errors import TellapartError
from tellapart.use import cluster
from tellapart.use.model import Classifier

ray = pytest.importorskip('ray', reason="the extra `ray` isn't installed")
import fsspec, pyarrow.parquet as pq
from tellapart.use.cluster import Answering, answer_all, missing, plan


@pytest.fixture
def folder(export_pkl, tmp_path):
    "Photos in folders, one that is broken, and what is none"
    for i,o in enumerate(sorted(export_pkl.parent.glob('photos/*/*'))):
        (place := tmp_path/'photos'/f'project {i % 3}').mkdir(parents=True, exist_ok=True)
        shutil.copy(o, place)
    (tmp_path/'photos/broken.jpg').write_bytes(b'gone')
    (tmp_path/'photos/notes.txt').write_text('to do')
    (tmp_path/'photos/.hidden.jpg').touch()
    return tmp_path/'photos'


@pytest.fixture
def store(folder):
    "The same photos in a store that is no folder"
    fs = fsspec.filesystem('memory')
    for o in folder.rglob('*.*'): fs.pipe_file(f'/photos/{o.relative_to(folder).as_posix()}', o.read_bytes())
    yield fs
    fs.rm('/', recursive=True)


def answers(fs, to):
    "All answers, by the end of the path"
    rows = [o for file in fs.ls(f'{to}/answers', detail=False) for o in pq.read_table(file, filesystem=fs).to_pylist()]
    found = {o['path'].partition('photos/')[2]: (o['label'], o['sure'], round(o['probability'] or 0, 4), bool(o['reason'])) for o in rows}
    assert len(found) == len(rows)
    return found


def expected(export_pkl, folder):
    "What one process says"
    files = sorted(o for o in folder.rglob('*.*') if o.suffix != '.txt' and o.name[0] != '.')
    said = zip(files, Classifier(export_pkl, threads=1).many(files))
    return {o.relative_to(folder).as_posix(): (a.label, a.sure, round(a.probability, 4), bool(a.reason)) for o,a in said}


def test_from_a_store_shard_by_shard(export_pkl, folder, store):
    "What is missing is done, what is there isn't done again, and a plan that was broken off is made again"
    export,to = export_pkl.read_bytes(),'memory://sorted'
    store.pipe_file('/sorted/plan/000000.parquet', b'half of a pl')
    made = plan('memory://photos', to, export, 3)
    assert (made['photos'], made['shards'], made['met']) == (13, 5, {'of another kind': 1, 'hidden': 1})
    todo = missing(to, made['shards'])
    assert len(todo) == 5
    Answering(to)(dict(shard=todo[:2]))
    store.pipe_file('/sorted/answers/000002.parquet.part', b'half of a sh')
    assert missing(to, made['shards']) == todo[2:]
    gone = pq.read_table('/sorted/plan/000004.parquet', filesystem=store).to_pylist()[0]['path']
    store.rm_file(gone)
    found = Answering(to)(dict(shard=todo[2:]))['found']
    assert sum(sum(json.loads(o).values()) for o in found) == 7
    assert missing(to, made['shards']) == []
    there,all_of_it = answers(store, '/sorted'),expected(export_pkl, folder)
    name = gone.partition('photos/')[2]
    assert there.pop(name) == (None, False, 0, True)
    assert there == {k: v for k,v in all_of_it.items() if k != name}

    with pytest.raises(TellapartError, match='has the answers for memory://photos'): plan('memory://others', to, export)
    with pytest.raises(TellapartError, match='has the answers of another export.pkl'): plan('memory://photos', to, b'another')
    with pytest.raises(TellapartError, match='There is no photo in memory://nothing'): plan('memory://nothing', 'memory://elsewhere', export)


def test_a_node_that_dies(export_pkl, folder, tmp_path, monkeypatch):
    "Two machines, of which one is killed half-way: another run isn't even needed, and the answers are those of one process"
    from ray.cluster_utils import Cluster
    to,node = tmp_path/'sorted',dict(num_cpus=1, object_store_memory=80*2**20)
    machines = Cluster(initialize_head=True, head_node_args=node)
    try:
        second = machines.add_node(**node)
        monkeypatch.setenv('RAY_ADDRESS', machines.address)
        there = lambda: len(list(to.glob('answers/*.parquet')))
        def kill():
            while there() < 3: time.sleep(.01)
            machines.remove_node(second, allow_graceful=False)
            killed.append(there())
        killed = []
        (killer := threading.Thread(target=kill, daemon=True)).start()
        answer_all(folder, to, export_pkl, shard=1)
        killer.join(30)
        assert 3 <= killed[0] < 13 and not second.live_processes()
    finally:
        ray.shutdown()
        machines.shutdown()
    assert answers(fsspec.filesystem('file'), to) == expected(export_pkl, folder)


def test_a_worker_for_each_gpu(monkeypatch):
    "Where onnxruntime computes on GPUs, each has one worker, with all threads to decode; else each core has one"
    for gpu,has,workers in ((True, dict(CPU=16., GPU=2.), 2), (True, dict(CPU=16.), 16), (False, dict(CPU=16., GPU=2.), 16)):
        monkeypatch.setattr(cluster, 'GPU', gpu)
        n,threads,takes = cluster._workers(has)
        assert n == workers and takes.get('num_gpus') == (1 if workers == 2 else None) and threads == (None if workers == 2 else 1)


def test_what_is_brought_nowhere(export_pkl, folder, tmp_path, capsys):
    assert main(['sort', str(folder), '--to', str(tmp_path/'sorted'), '--ray', '--move', '--export', str(export_pkl)]) == 1
    assert 'With --ray nothing is brought anywhere' in capsys.readouterr().err
