"Batch inference on a cluster: the same predictions as from one process, from folders and stores, whatever dies"
import json, shutil, threading, time
from importlib.util import find_spec
import pytest
from tellapart.cli import main
from tellapart.errors import TellapartError
from tellapart.use import batch_inference as cluster
from tellapart.use.classifier import Classifier

if not find_spec('ray'): pytest.skip("the extra `ray` isn't installed", allow_module_level=True) # it takes seconds to import
import fsspec, pyarrow.parquet as pq
from fsspec.implementations.memory import MemoryFileSystem
from tellapart.use.batch_inference import ShardClassifier, classify_all, missing_shards, plan_shards


@pytest.fixture
def folder(export_pkl, tmp_path):
    "Photos in folders, a broken one, and other files"
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


def name(row): return row['path'].partition('photos/')[2]


def predictions(fs, to):
    "All predictions, by the end of the path"
    rows = [o for file in fs.ls(f'{to}/answers', detail=False) for o in pq.read_table(file, filesystem=fs).to_pylist()]
    found = {name(o): (o['label'], o['confident'], round(o['probability'] or 0, 4), bool(o['reason'])) for o in rows}
    assert len(found) == len(rows)
    return found


def expected(export_pkl, folder):
    "The predictions of one process"
    files = sorted(o for o in folder.rglob('*.*') if o.suffix != '.txt' and o.name[0] != '.')
    said = zip(files, Classifier(export_pkl, threads=1).many(files))
    return {o.relative_to(folder).as_posix(): (a.label, a.confident, round(a.probability, 4), bool(a.reason)) for o,a in said}


def test_from_a_store_shard_by_shard(export_pkl, folder, store):
    "Missing shards are made, existing ones aren't made again, and an interrupted plan is made again"
    export,to = export_pkl.read_bytes(),'memory://sorted'
    store.pipe_file('/sorted/plan/000000.parquet', b'half of a pl')
    plan = plan_shards('memory://photos', to, export, 3)
    assert (plan['photos'], plan['shards'], plan['skipped']) == (13, 5, {'of another kind': 1, 'hidden': 1})
    todo = missing_shards(to, plan['shards'])
    assert len(todo) == 5
    ShardClassifier(to)(dict(shard=todo[:2]))
    store.pipe_file('/sorted/answers/000002.parquet.part', b'half of a sh')
    assert missing_shards(to, plan['shards']) == todo[2:]
    gone = pq.read_table('/sorted/plan/000004.parquet', filesystem=store).to_pylist()[0]
    store.rm_file(gone['path'])
    found = ShardClassifier(to)(dict(shard=todo[2:]))['found']
    assert sum(sum(json.loads(o).values()) for o in found) == 7
    assert missing_shards(to, plan['shards']) == []
    there,all_of_it = predictions(store, '/sorted'),expected(export_pkl, folder)
    assert there.pop(name(gone)) == (None, False, 0, True)
    assert there == {k: v for k,v in all_of_it.items() if k != name(gone)}

    with pytest.raises(TellapartError, match='has the predictions for memory://photos'): plan_shards('memory://others', to, export)
    with pytest.raises(TellapartError, match='has the predictions of another export.pkl'): plan_shards('memory://photos', to, b'another')
    with pytest.raises(TellapartError, match='There is no photo in memory://nothing'):
        plan_shards('memory://nothing', 'memory://elsewhere', export)


def test_predictions_of_version_0_1_are_continued(export_pkl, store):
    "It called a column of the table and a key of the plan differently; all shards of one table have the same columns"
    export,to = export_pkl.read_bytes(),'memory://sorted'
    plan = plan_shards('memory://photos', to, export, 5)
    ShardClassifier(to)(dict(shard=missing_shards(to, plan['shards'])))
    expected = predictions(store, '/sorted')
    old = {'met' if k == 'skipped' else k: v for k,v in json.loads(store.cat_file('/sorted/plan.json')).items()}
    store.pipe_file('/sorted/plan.json', json.dumps(old).encode())
    for file in store.ls('/sorted/answers', detail=False):
        table = pq.read_table(file, filesystem=store)
        table = table.rename_columns(['sure' if o == 'confident' else o for o in table.column_names])
        if '000000' in file: # it listed shards with photos that couldn't be read, but not the photos
            rows = [o | dict(label=None, reason="It can't be read: Forbidden.") if i == 1 else o for i,o in enumerate(table.to_pylist())]
            table = table.from_pylist(rows, table.schema)
            store.pipe_file('/sorted/unread/000000.parquet', b'')
        pq.write_table(table, file, filesystem=store)
    store.rm_file('/sorted/answers/000001.parquet')
    again = plan_shards('memory://photos', to, export, 5)
    assert again['skipped'] == plan['skipped']
    ShardClassifier(to)(dict(shard=missing_shards(to, again['shards'])))
    tables = [pq.read_table(o, filesystem=store) for o in store.ls('/sorted/answers', detail=False)]
    assert {tuple(o.column_names) for o in tables} == {('path', 'label', 'probability', 'second', 'sure', 'reason')}
    assert {name(o): (o['label'], o['sure']) for t in tables for o in t.to_pylist()} == {k: v[:2] for k,v in expected.items()}
    assert not missing_shards(to, again['shards'])


class Guarded(MemoryFileSystem):
    "A store that refuses some of its objects"
    protocol = 'guarded'
    refused,asked = {},[] # the errors by name; what was asked for

    @classmethod
    def _strip_protocol(cls, path): return super()._strip_protocol(path.replace('guarded://', 'memory://'))

    def cat_file(self, path, *args, **kwargs):
        name = path.rpartition('/')[2]
        if not name.endswith(('.parquet', '.pkl', '.json')): self.asked.append(name)
        if name in self.refused: raise self.refused[name]
        return super().cat_file(path, *args, **kwargs)

fsspec.register_implementation('guarded', Guarded, clobber=True)


@pytest.fixture
def here(monkeypatch):
    "No other machines: a store of ours is known in this process alone"
    def classify(to, shards): return map(json.loads, ShardClassifier(to)(dict(shard=shards))['found'])
    monkeypatch.setattr(cluster, '_classify_on_cluster', classify)


def test_what_a_store_refuses_does_not_stop_a_run(export_pkl, store, here, monkeypatch, capsys):
    "Each run ends; those photos have a reason, and the next run tries them again, and no others"
    fs,photos = fsspec.filesystem('guarded'),sorted(o for o in store.find('/photos') if '/project' in o)
    fs.mv(photos[0], odd := '/photos/what? [1] *.png') # no pattern, only a name
    names = [o.rpartition('/')[2] for o in photos[1:3]]
    monkeypatch.setattr(Guarded, 'refused', {names[0]: PermissionError('Forbidden'), names[1]: TimeoutError()})
    def run():
        Guarded.asked.clear()
        assert main(['sort', 'guarded://photos/', '--to', 'guarded://sorted', '--ray', '--export', str(export_pkl)]) == 0
        return capsys.readouterr().out,{o.rpartition('/')[2]: v for o,v in predictions(fs, '/sorted').items()}
    def reasons():
        rows = pq.read_table('/sorted/answers/000000.parquet', filesystem=store).to_pylist()
        return sorted(o['reason'] for o in rows if not o['label'])[:2]
    said,first = run()
    assert "In 1 of them are photos that couldn't be read; the same command tries those again." in said and len(Guarded.asked) == 13
    assert {k for k,v in first.items() if not v[0]} == {*names, 'broken.jpg'}
    assert reasons() == ["It can't be read: Forbidden.", "It can't be read: TimeoutError."] and first[odd.rpartition('/')[2]][0]
    Guarded.refused.pop(names[1])
    said,second = run()
    assert sorted(Guarded.asked) == sorted(names) and 'Classified 2 photos' in said and '11 had been classified before' in said
    assert second[names[1]][0] and second == first | {names[1]: second[names[1]]}
    Guarded.refused.clear()
    said,third = run()
    assert Guarded.asked == [names[0]] and third[names[0]][0] and "couldn't be read" not in said
    assert run()[1] == third and not Guarded.asked


def test_where_nothing_can_be_read(export_pkl, store, here, monkeypatch, capsys):
    "That is no success; but once it can be read, the same command does the rest"
    names = {o.rpartition('/')[2] for o in store.find('/photos')}
    monkeypatch.setattr(Guarded, 'refused', dict.fromkeys(names, PermissionError('Forbidden')))
    command = ['sort', 'guarded://photos', '--to', 'guarded://sorted', '--ray', '--export', str(export_pkl)]
    assert main(command) == 1
    assert "None of 13 photos could be opened: the column reason of guarded://sorted/answers says why" in capsys.readouterr().err
    monkeypatch.setattr(Guarded, 'refused', {})
    assert main(command) == 0


@pytest.mark.parametrize('to', ['{0}/', '{0}/sorted', '{0}/../photos/sorted/', 'file://{0}/sorted', 'local://{0}'])
def test_predictions_are_not_written_among_the_photos(export_pkl, folder, to, capsys):
    for place in folder, f'{folder}/', f'file://{folder}/':
        assert main(['sort', str(place), '--to', to.format(folder), '--ray', '--export', str(export_pkl)]) == 1
        assert 'where photos are searched for' in capsys.readouterr().err


@pytest.mark.slow
def test_a_node_that_dies(export_pkl, folder, tmp_path, monkeypatch):
    "Two machines, of which one is killed half-way: no other run is needed, and the predictions are those of one process"
    import ray
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
        classify_all(folder, to, export_pkl, shard=1)
        killer.join(30)
        assert 3 <= killed[0] < 13 and not second.live_processes()
    finally:
        ray.shutdown()
        machines.shutdown()
    assert predictions(fsspec.filesystem('file'), to) == expected(export_pkl, folder)


def test_ray_moves_nothing(export_pkl, folder, tmp_path, capsys):
    assert main(['sort', str(folder), '--to', str(tmp_path/'sorted'), '--ray', '--move', '--export', str(export_pkl)]) == 1
    assert 'With --ray no photo is copied or moved' in capsys.readouterr().err
