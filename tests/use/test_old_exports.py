"Exports made by older versions give the same predictions as when they were made"
import json
import numpy as np
import pytest
from exports import FORMAT_4, rewrite
from tellapart.use.classifier import FORMAT, Classifier, read_meta

BEFORE = json.loads(FORMAT_4.with_suffix('.json').read_text()) # tellapart 0.1.0's predictions for `draw(0)` to `draw(11)`


def draw(i):
    "Stripes as the model was trained on, or grey noise"
    rng,size,kind = np.random.default_rng(i),60 + 13*(i % 5),i % 3
    at = np.meshgrid(np.arange(size + 20), np.arange(size))[kind % 2]
    stripes = 120 + 90*np.sin(at*rng.uniform(.3, .6))[..., None]*(np.eye(3)[kind % 2] if kind < 2 else np.zeros(3))
    return (stripes + rng.normal(0, 12, stripes.shape)).clip(0, 255).astype('uint8')


PHOTOS = [draw(i) for i in range(12)]


def same(predictions, before):
    predictions = list(predictions)
    now = [(o.label, o.confident, 'none of these' in o.reason) for o in predictions]
    assert now == [(o['label'], o['confident'], o['none']) for o in before]
    assert np.allclose([o.probability for o in predictions], [o['probability'] for o in before], atol=1e-3)


@pytest.mark.parametrize('bits', ['int8', 'float32'])
def test_format_4(bits):
    classify = Classifier(FORMAT_4, int8=bits == 'int8')
    same(map(classify, PHOTOS), BEFORE[bits])
    same(classify.many(PHOTOS), BEFORE[bits])


def test_format_4_explains(): assert np.allclose(Classifier(FORMAT_4).occlusion_map(PHOTOS[0]), BEFORE['occlusion_map'], atol=.05)


def test_format_4_has_the_keys_of_today():
    meta = read_meta(FORMAT_4)
    assert meta['format'] == FORMAT and [o['step'] for o in meta['preprocess']] == ['resize', 'center_crop', 'interpolate']
    assert meta['card'] == dict(int8_agreement=1., correct=40, correct_confident=40, wrong=0, wrong_confident=0, error_rate=.05)
    pytest.importorskip('fastai')
    from tellapart.export.export import export_summary
    assert export_summary(FORMAT_4).startswith('It is confident on 40 of the 40 validation photos')


def test_format_3(tmp_path):
    "It has one set of thresholds, those of the default graph"
    def older(name, content):
        if not name.endswith('meta.json'):
            return content
        meta = json.loads(content)
        thresholds = meta.pop('thresholds')
        return json.dumps(meta | dict(format=3) | thresholds['int8']).encode()
    old = rewrite(FORMAT_4, tmp_path/'old.pkl', older)
    same(map(Classifier(old), PHOTOS), BEFORE['int8'])
    full = [Classifier(old, int8=False)(o) for o in PHOTOS]
    assert np.allclose([o.probability for o in full], [o['probability'] for o in BEFORE['float32']], atol=1e-3)
    assert any(o.confident for o in full)


def test_format_5(export_pkl, tmp_path):
    "It has no prediction sets: each holds the likeliest label alone"
    def older(name, content):
        if not name.endswith('meta.json'):
            return content
        meta = json.loads(content)
        for o in meta['thresholds'].values(): del o['set_probability']
        del meta['pretrained']
        return json.dumps(meta | dict(format=5)).encode()
    photos = sorted((export_pkl.parent/'photos').rglob('*.*'))[:6]
    now,then = (list(map(Classifier(o), photos)) for o in (export_pkl, rewrite(export_pkl, tmp_path/'old.pkl', older)))
    assert [(o.label, o.confident, o.reason) for o in then] == [(o.label, o.confident, o.reason) for o in now]
    assert all(o.labels == (o.label,) and not o.either for o in then)
