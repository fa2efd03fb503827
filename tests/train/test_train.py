"Training on this machine as it is: reproducible, the best epoch, errors, memory, saved models of this version and the one before"
import ctypes, io, multiprocessing, os, random, re, shutil, signal, subprocess, sys
from pathlib import Path
from types import SimpleNamespace
import pytest

pytest.importorskip('fastai')
import numpy as np, pandas as pd, psutil, torch
from PIL import Image
from fastai.vision.all import (Callback, CategoryBlock, ColReader, ColSplitter, DataBlock, ImageBlock, MixUp, Normalize, RandomSplitter,
                               Resize, aug_transforms, error_rate, get_image_files, imagenet_stats, load_learner, parent_label, set_seed,
                               vision_learner)
from tellapart.catalog import Catalog
from tellapart.check.check import check
from tellapart.check.inspection import inspect_image
from tellapart.cli import main
from tellapart.errors import TellapartError
from tellapart.clean.label_errors import TrainingDynamics
from tellapart.export.export import export
from tellapart.project import read_project
from tellapart.train.resize import FixedResize, resize_transform
from tellapart.train.train import (AutoMixedPrecision, _num_workers, batch_items, dataloaders, estimate_time, find_callback, keep_best,
                                   load_trained)
from tellapart.train.weights import model_kwargs
from exports import draw_photos, quick_learner

MODEL = 'mobilenetv3_small_050' # the quickest of timm's
pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('train')
    for label in 'badminton', 'squash', 'tennis': draw_photos(folder/'photos'/label, 12)
    return folder/'photos'


def data(photos, bs=8, size=48):
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=RandomSplitter(.25, seed=1),
                      item_tfms=resize_transform('random crop', size),
                      batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)])
    return dataloaders(block, photos, SimpleNamespace(folder=photos.parent, train=SimpleNamespace(size=size, batch_size=bs)))


def learner(dls, arch=MODEL, cbs=()):
    learn = vision_learner(dls, **model_kwargs(arch, 'none'), metrics=error_rate, cbs=[AutoMixedPrecision(), *cbs])
    learn.remove_cb(learn.progress)
    return learn


def test_the_same_seed_gives_the_same_twice(photos, capsys):
    "The error and every weight, with an estimate of the time and without, in mixed precision with all augmentation"
    def train(estimate):
        set_seed(3, reproducible=True)
        learn = learner(data(photos), 'resnet18')
        if estimate: estimate_time(learn, 1)
        with keep_best(learn): learn.fine_tune(1, 3e-3, cbs=MixUp())
        return learn
    a,b = train(False),train(True)
    assert list(a.recorder.values[-1]) == list(b.recorder.values[-1])
    for k,v in a.model.state_dict().items(): assert torch.equal(v, b.model.state_dict()[k]), k
    assert re.search(r'Training on .*: 2 epochs of 27 photos will take about \d+ (second|minute)s?\.', capsys.readouterr().out)


def test_estimate_says_that_other_programs_are_busy(photos, capsys):
    other = subprocess.Popen([sys.executable, '-c', 'while True: pass'])
    try: estimate_time(learner(data(photos)), 1)
    finally: other.kill()
    assert 'Other programs keep this computer busy' in capsys.readouterr().out


def test_mixed_precision_in_all_that_fastai_does(photos, tmp_path):
    "It learns, after lr_find; validate and get_preds agree, in float32; and the model is back in its usual layout"
    set_seed(1, reproducible=True)
    learn = learner(data(photos), 'resnet18')
    autocast = []
    learn.model[0].register_forward_hook(lambda *_: autocast.append((learn.training, torch.is_autocast_enabled('cpu'))))
    with keep_best(learn):
        assert 0 < learn.lr_find(num_it=12, show_plot=False).valley < 1
        learn.fine_tune(3, 5e-3, freeze_epochs=2)
    assert not any(on for training,on in autocast if not training)
    assert learn.validate()[1] < .2
    p,y = learn.get_preds()
    assert (p.argmax(1) != y).float().mean() == pytest.approx(learn.validate()[1])
    learn.show_results(max_n=2)
    assert all(o.is_contiguous() and o.dtype == torch.float32 for o in learn.model.parameters())


def test_nothing_of_ours_is_in_the_export(photos, tmp_path):
    "Callbacks for training stay at home, and the learner has them afterwards"
    learn = quick_learner(photos, Resize(48))
    learn.add_cbs([AutoMixedPrecision(), TrainingDynamics()])
    learn.fit(1)
    loaded = load_learner(export(learn, tmp_path/'export.pkl'))
    assert [type(o).__name__ for o in learn.cbs if o not in loaded.cbs][-2:] == ['AutoMixedPrecision', 'TrainingDynamics']
    assert not [k for k,v in (vars(loaded) | {str(o): o for o in loaded.cbs}).items() if type(v).__module__.startswith('tellapart')]
    learn.fit(1)


class At(Callback):
    "Does something in the middle of training"
    def __init__(self, epoch, do): self.at,self.do = epoch,do
    def after_pred(self):
        if self.training and self.epoch == self.at: self.do()


def test_the_best_epoch_is_kept(photos, capsys):
    "An epoch that spoils the model is left out, and what is kept is exactly that of the best one"
    def spoil(): learn.model[-1].weight.data.normal_(0, 50) # Between forward and backward, which only `data` allows in float32
    set_seed(1, reproducible=True)
    learn = quick_learner(photos, Resize(48))
    learn.metrics = error_rate
    learn.add_cbs([AutoMixedPrecision(), At(2, spoil)])
    with keep_best(learn) as best: learn.fit(3, 1e-2)
    by_epoch = [(o[1], o[2]) for o in learn.recorder.values]
    lowest = by_epoch.index(min(by_epoch))
    assert lowest != 2 and f'Kept epoch {lowest}, the best: loss {by_epoch[lowest][0]:.3f}, error rate' in capsys.readouterr().out
    loss,error = learn.validate()
    assert loss == pytest.approx(by_epoch[lowest][0], rel=1e-4) and error == by_epoch[lowest][1] and best.seconds > 0


def test_the_best_epoch_may_be_a_frozen_one(photos, capsys):
    "The best of all that is trained inside the block; lr_find and validate inside of it don't count"
    learn = quick_learner(photos, Resize(48))
    with keep_best(learn):
        learn.fit(1, 1e-3)
        first = learn.validate()[0]
        learn.lr_find(num_it=8, show_plot=False, suggest_funcs=None)
        learn.fit(1, 10)
    assert 'Kept epoch 0 of table 1, the best: loss' in capsys.readouterr().out
    assert learn.validate()[0] == pytest.approx(first, rel=1e-4)


@pytest.mark.parametrize('epoch,said', [(1, 'Stopped. Kept epoch 0, the best so far'), (0, 'Stopped before the first epoch ended')])
def test_ctrl_c_keeps_the_best_and_goes_on(photos, ctrl_c, capsys, epoch, said):
    "Also in the first half of fine_tune, whose second half isn't begun then; afterwards training can begin anew"
    learn = learner(data(photos), cbs=[stop := At(epoch, lambda: signal.raise_signal(signal.SIGINT))])
    with keep_best(learn): learn.fine_tune(3, 1e-3, freeze_epochs=2)
    assert said in capsys.readouterr().out and len(learn.recorder.values) == epoch
    assert not torch.is_autocast_enabled('cpu') and all(not o.grad.any() for o in learn.model.parameters() if o.grad is not None)
    assert 'forward' not in vars(learn.model)
    learn.remove_cb(stop)
    with keep_best(learn): learn.fine_tune(1, 1e-3)
    assert len(learn.recorder.values) == 1 and 'Stopped' not in capsys.readouterr().out


def test_a_missing_photo_is_named(photos, tmp_path):
    "By workers, too"
    shutil.copytree(photos, tmp_path/'photos')
    learn = learner(data(tmp_path/'photos'))
    (gone := learn.dls.train_ds.items[3]).unlink()
    for workers in 0, 1:
        for dl in learn.dls.loaders: dl.fake_l.num_workers = workers
        named = f'^{re.escape(str(gone))} is gone since the check: run 02_check again'
        with pytest.raises(TellapartError, match=named), keep_best(learn): learn.fit(1)
        with pytest.raises(TellapartError, match='is gone since the check'): estimate_time(learn, 1)
    learn.dls = data(tmp_path/'photos')
    with keep_best(learn): learn.fit(1)


def forked(f):
    "What `f` returns, called in a process of its own that knows all that this one does"
    if 'fork' not in multiprocessing.get_all_start_methods(): pytest.skip('this system has no fork')
    fork = multiprocessing.get_context('fork')
    ours,theirs = fork.Pipe()
    process = fork.Process(target=lambda: theirs.send(f()))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally: process.join()


def test_too_little_memory_names_a_batch_size(photos):
    learn = learner(data(photos, bs=24, size=384), 'resnet18')
    def fit():
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + 10**8,)*2)
        with pytest.raises(TellapartError) as e, keep_best(learn): learn.fit(1)
        return str(e.value)
    bs = learn.dls.train.bs
    assert forked(fit) == (f"A batch of {bs} photos doesn't fit into the memory of the CPU: restart the kernel and "
                           f"try train.batch_size = {bs//2} in the project file.")


def test_workers_have_room(photos):
    "Batches come through where /dev/shm is small, and where it is smaller than a batch"
    if sys.platform != 'linux' or os.geteuid(): pytest.skip('a /dev/shm of a size to choose takes Linux, and root')
    dls,batch = data(photos, bs=12, size=512),12*3*512**2
    def through():
        libc = ctypes.CDLL(None)
        if libc.unshare(0x20000) or libc.mount(None, b'/', None, 0x44000, None):
            return # a namespace of our own, whose mounts nobody else sees
        came = []
        for size in '1m', '64m', '4g':
            if libc.mount(b'tmpfs', b'/dev/shm', b'tmpfs', 0, f'size={size}'.encode()):
                return
            workers = _num_workers(batch)
            for dl in dls.loaders: dl.fake_l.num_workers = workers
            came.append((workers, sum(len(y) for dl in dls.loaders for x,y in dl)))
        return came
    came = forked(through)
    if came is None: pytest.skip('this system lets nobody mount')
    assert came[:2] == [(0, 33), (1, 33)] and came[2][0] >= 1 and came[2][1] == 33


def test_few_photos_make_small_batches(photos, capsys):
    dls = data(photos, bs=500)
    assert dls.train.bs == 27 and len(dls.train) == 1
    assert not capsys.readouterr().out


def test_an_error_leaves_nothing_behind(photos):
    "Computing after a failed step isn't in mixed precision, and the learner trains on"
    def fail(*_): raise ValueError('a bug')
    learn = learner(data(photos))
    bug = learn.model[-1].register_forward_hook(fail)
    with pytest.raises(ValueError), keep_best(learn): learn.fit(1)
    assert not torch.is_autocast_enabled('cpu')
    bug.remove()
    with keep_best(learn): learn.fit(1)
    assert 'forward' not in vars(learn.model)


def test_the_items_of_a_batch(photos, tmp_path):
    "From folders and tables, shuffled, with workers, in other DataLoaders made from these, and in loaded learners"
    dls = data(photos)
    random.seed(4)
    for i,(_,y) in enumerate(dls.train): assert [dls.vocab[o] for o in y] == [o.parent.name for o in batch_items(dls.train, i)]
    for dl in dls.loaders: dl.fake_l.num_workers = 2
    for i,(_,y) in enumerate(dls.train): assert [dls.vocab[o] for o in y] == [o.parent.name for o in batch_items(dls.train, i)]
    for dl in dls.loaders: dl.fake_l.num_workers = 0
    dls.show_batch(max_n=2, unique=True)
    assert set(batch_items(dls.train)) == {dls.train_ds.items[0]}
    files = get_image_files(photos)
    learn = quick_learner(photos, Resize(48))
    learn.export(tmp_path.absolute()/'learn.pkl')
    for some in dls,load_learner(tmp_path/'learn.pkl').dls:
        test = some.test_dl(files[:11], bs=4)
        assert [len(x) for x, in test] == [4, 4, 3] and list(batch_items(test, 2)) == files[8:11]
    new = dls.train.new(bs=3)
    new.show_batch(max_n=2)
    assert len(batch_items(new)) == 3
    with pytest.raises(TellapartError, match="needs a DataLoader of fastai's, and this is torch"):
        batch_items(torch.utils.data.DataLoader([1]))
    table = pd.DataFrame(dict(file=files.map(str), label=files.map(parent_label), valid=[i % 4 == 0 for i in range(len(files))]))
    block = DataBlock((ImageBlock, CategoryBlock), get_x=ColReader('file'), get_y=ColReader('label'), splitter=ColSplitter('valid'),
                      item_tfms=Resize(32))
    dls = dataloaders(block, table, SimpleNamespace(folder=photos.parent, train=SimpleNamespace(size=32, batch_size=8)))
    assert [dls.vocab[o] for o in dls.train.one_batch()[1]] == [o.label for o in batch_items(dls.train)]


def test_a_network_for_one_size_says_so(photos):
    learn = learner(data(photos), 'vit_tiny_patch16_224')
    why = '^vit_tiny_patch16_224 takes photos of one size only: set train.size = 224'
    with pytest.raises(TellapartError, match=why), keep_best(learn): learn.fit(1)


def colours(folder):
    "A project of red and blue photos, checked"
    (folder/'tellapart.toml').write_text('name = "colours"\nint8 = false\n[labels]\nblue = "blue"\nred = "red"\n'
                                         '[train]\nsize = 32\nbatch_size = 4\nresize_method = "white"\n')
    p,rng = read_project(folder/'tellapart.toml'),np.random.default_rng(0)
    with Catalog(p.folder) as catalog:
        for i in range(24):
            pixels = rng.integers(0, 100, (64, 64, 3), dtype='uint8')
            pixels[..., 2*(i%2)] += 150
            Image.fromarray(pixels).save(f := io.BytesIO(), 'PNG')
            catalog.add(['red', 'blue'][i%2], f.getvalue(), **inspect_image(f.getvalue())[0])
    check(p)
    return p


@pytest.mark.skipif(os.name == 'nt', reason='the pickle names a path of another system')
def test_a_model_trained_with_the_version_before(tmp_path, monkeypatch):
    "Its callbacks and transforms had other names, and the DataBlock was inside; it loads, goes on training, and is exported"
    p = colours(tmp_path)
    monkeypatch.chdir(tmp_path) # Its splitter names the project's file as tellapart.toml
    shutil.copy(Path(__file__).parent/'fixtures/trained-0.1.pkl', p.folder/'trained.pkl')
    learn,block = load_trained(p)
    assert isinstance(block.item_tfms[-1], FixedResize) and 'photos' not in vars(learn)
    assert find_callback(learn, AutoMixedPrecision) and len(find_callback(learn, TrainingDynamics).probabilities) == 24
    learn.dls = dataloaders(block, p.working, p)
    with learn.no_bar():
        assert learn.validate()[1] == 0
        with keep_best(learn): learn.fit(1, 1e-4)
    assert main(['export', '--project', str(p.file)]) == 0 and p.export.exists()
