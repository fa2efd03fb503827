"The first model: a learner like any other, exported and answering alike for both readers; what it says of its photos; and bad input"
import io
import numpy as np
import pytest

pytest.importorskip('timm')
from fastai.vision.all import load_learner
from PIL import Image
from tellapart.catalog import Catalog
from tellapart.check.check import check
from tellapart.check.inspection import inspect_image
from tellapart.cli import main
from tellapart.demo.draw import draw
from tellapart.errors import TellapartError
from tellapart.export.export import export
from tellapart.project import read_project
from tellapart.train.first_model import first_model, learning_curve
from tellapart.train.head import choose_C, fit_head, LabelledFeatures, make_folds
from tellapart.train.report import runs
from tellapart.train.train import load_trained, no_pickle_warning, save_trained
from tellapart.use.classifier import Classifier, read_meta

pytestmark = [pytest.mark.long, pytest.mark.training]


def project(folder, **counts):
    "A checked project with so many drawn photos of each label"
    labels = '\n'.join(f'{o} = "{o}"' for o in counts)
    (folder/'tellapart.toml').write_text(f'name = "rackets"\nduplicates = "exact"\n[labels]\n{labels}\n')
    p = read_project(folder/'tellapart.toml')
    with Catalog(p.folder) as catalog:
        for label,n in counts.items():
            for seed in range(n):
                draw(label, seed, size=(160, 120)).save(f := io.BytesIO(), 'PNG')
                catalog.add(label, f.getvalue(), **inspect_image(f.getvalue())[0])
    check(p)
    return p


@pytest.fixture(scope='module')
def p(tmp_path_factory): return project(tmp_path_factory.mktemp('first'), badminton=24, squash=24, tennis=24)


@pytest.fixture(scope='module')
def first(p): return first_model(p)


def test_reports_on_photos_that_it_has_not_seen(p, first):
    run = first.report.run
    assert run.error.n == len(first.learn.dls.valid_ds) and run.error.rate < .2 and run.epochs == 0
    assert runs(p).iloc[-1].error == run.error.rate and runs(p).index[-1] == first.learn.run_name # for its export
    page = first.report.file.read_text('utf-8')
    assert 'only the head trained' in page and f'{run.error.rate:.1%} wrong' in page
    assert first.learning_curve.now == 24 and '50 more' in repr(first.learning_curve)


def test_both_readers_answer_alike_and_as_the_features_said(p, first, tmp_path):
    file = export(first.learn, tmp_path/'export.pkl', int8=False)
    meta = read_meta(file)
    assert meta['size'] == [224, 224] and meta['card']['weights_licence'] == 'Apache-2.0' and file.stat().st_size < 18e6
    with no_pickle_warning(): learn = load_learner(file)
    photos = list(first.learn.dls.valid_ds.items)[:6]
    classify = Classifier(file)
    vocab,said = first.report.run.labels,{}
    with Catalog(p.folder) as catalog: said = dict(zip(catalog.frame().working, catalog.frame().sha256))
    by_features = {o.sha256: o.probabilities for o in first.report.run.predictions}
    for photo in photos:
        with learn.no_bar(): _,_,probs = learn.predict(photo)
        assert np.allclose(probs, [dict(classify(photo).ranked)[o] for o in vocab], atol=1e-3)
        if meta['card']['temperature'] == first.learn.temperature: assert np.allclose(probs, by_features[said[photo]], atol=5e-3)


def test_goes_on_as_any_learner(p, first):
    "Saved, loaded, and fine-tuned, which trains more than the head"
    save_trained(first.learn, first.block, p)
    learn,block = load_trained(p)
    learn.dls = block.dataloaders(p.working, bs=16, num_workers=0)
    with learn.no_bar(), learn.no_logging():
        assert learn.validate()[1] == pytest.approx(first.report.run.error.rate)
        frozen = [o.detach().clone() for o in learn.model[0].parameters()]
        learn.fit(1, 1e-3)
        assert not all(o.equal(a) for o,a in zip(learn.model[1].parameters(), first.learn.model[1].parameters()))
        convolutions = [(o, a) for o,a in zip(learn.model[0].parameters(), frozen) if a.ndim == 4]
        assert all(o.equal(a) for o,a in convolutions)
        learn.fine_tune(1, 1e-3, freeze_epochs=0)
        assert not all(o.equal(a) for o,a in convolutions)


def test_labels_are_renamed_and_merged_without_training(p, first, tmp_path, capsys):
    save_trained(first.learn, first.block, p)
    file = tmp_path/'export.pkl'
    project = ['--project', str(p.file), '--to', str(file)]
    assert main(['export', *project, '--no-int8']) == 0
    before,photos = Classifier(file),list(first.learn.dls.valid_ds.items)[:4]
    was = [dict(before(o).ranked) for o in photos]
    assert main(['export', *project, '--no-int8', '--rename', 'squash=indoor', '--rename', 'badminton=indoor']) == 0
    with no_pickle_warning(): learn = load_learner(file)
    for photo,old in zip(photos, was):
        new = dict(Classifier(file)(photo).ranked)
        assert new.keys() == {'indoor', 'tennis'}
        calibrated_by_head_alone = before.meta['card']['temperature'] == first.learn.temperature
        if calibrated_by_head_alone: assert new['indoor'] == pytest.approx(old['squash'] + old['badminton'], abs=1e-3)
        with learn.no_bar(): assert learn.predict(photo)[0] == max(new, key=new.get)
    assert main(['export', *project, '--rename', 'bear=indoor']) == 1
    assert "There is no label 'bear' to rename; the model knows badminton, squash, tennis." in capsys.readouterr().err


def test_unequal_labels_are_balanced(tmp_path, capsys):
    p = project(tmp_path, squash=40, tennis=9)
    first = first_model(p)
    assert 'Each label has the same weight in training, as squash has 30 photos and tennis 7.' in capsys.readouterr().out
    assert first.report.run.by_label.keys() == {'squash', 'tennis'}


def test_three_photos_a_label(tmp_path): assert first_model(project(tmp_path, squash=3, tennis=3)).report.run.error.n == 2


def test_a_label_with_one_photo(tmp_path):
    "Nothing can be said of it, so it is named instead of trained on"
    with pytest.raises(TellapartError, match='tennis'): first_model(project(tmp_path, squash=12, tennis=1))


def test_all_photos_alike(tmp_path):
    "A heap of nearly the same photo tells nothing apart, and says so by its error rate"
    (tmp_path/'tellapart.toml').write_text('name = "grey"\nduplicates = "exact"\n[labels]\na = "a"\nb = "b"\n')
    p = read_project(tmp_path/'tellapart.toml')
    with Catalog(p.folder) as catalog:
        for i in range(24):
            (im := Image.new('RGB', (120, 120), 'grey')).putpixel((i, i), (255, 255, 255))
            im.save(f := io.BytesIO(), 'PNG')
            catalog.add('ab'[i % 2], f.getvalue(), group_id=str(i), **inspect_image(f.getvalue())[0])
    check(p)
    first = first_model(p)
    assert first.report.run.error.rate > .2 and all(.2 < max(o.probabilities) < .9 for o in first.report.run.predictions)


def test_many_labels(tmp_path):
    "Three hundred, from the features alone"
    rng = np.random.default_rng(0)
    centres,labels = rng.normal(size=(300, 40)),np.repeat([f'label {i:03}' for i in range(300)], 4)
    x = centres[np.repeat(range(300), 4)] + .3*rng.normal(size=(1200, 40))
    C,found = choose_C(x, labels, make_folds(labels, range(1200)))
    assert (found.labels[found.probs.argmax(1)] == labels).mean() > .8 and fit_head(x, labels, C).weight.shape == (300, 40)


def test_forecast():
    "From 50 photos a label, the error rate with 100 is forecast within 3 points"
    rng = np.random.default_rng(0)
    centres,labels = rng.normal(size=(5, 60)),np.tile(list('abcde'), 1000)
    x = centres[np.arange(5000) % 5] + 3.2*rng.normal(size=(5000, 60))
    C,_ = choose_C(x[:500], labels[:500], make_folds(labels[:500], range(500)))
    head = fit_head(x[:500], labels[:500], C)
    error = (np.array(head.labels)[head.logits(x[500:]).argmax(1)] != labels[500:]).mean()
    curve = learning_curve(LabelledFeatures(None, x[:250], labels[:250], np.arange(250)), C)
    assert .1 < error < .3 and abs(curve.forecast(100) - error) < .03
