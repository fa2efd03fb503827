"Exams: an export on labelled photos that it has never seen, and two exports beside each other"
import re, shutil
import pytest

pytest.importorskip('fastai')
from exports import change_meta, draw_photos, rewrite
from PIL import Image
from tellapart.cli import main
from tellapart.errors import TellapartError
from tellapart.export.evaluate import compare, evaluate
from tellapart.use.classifier import Classifier


@pytest.fixture(scope='module')
def folder(export_pkl, tmp_path_factory):
    "Photos that the export was not trained on, one with a wrong label, some that show none, and one that is cut short"
    folder = tmp_path_factory.mktemp('exam')/'fresh'
    for label in 'badminton', 'squash', 'tennis': draw_photos(folder/label, 8)
    (folder/'squash/sub').mkdir()
    shutil.move(folder/'tennis/tennis-1.png', folder/'squash/sub/wrong.png')
    (folder/'none').mkdir()
    for i,colour in enumerate(('grey', 'red', 'white')): Image.new('RGB', (120, 90), colour).save(folder/f'none/{i}.png')
    (folder/'tennis/cut.jpg').write_bytes((folder/'tennis/tennis-0.jpg').read_bytes()[:200])
    (folder/'notes.txt').write_text('no photo')
    return folder


def test_the_figures_are_those_of_the_classifier(export_pkl, folder):
    found,classify = evaluate(export_pkl, folder),Classifier(export_pkl)
    photos = [o for label in classify.labels for o in (folder/label).rglob('*.*') if o.name != 'cut.jpg']
    answers = {o: classify(o) for o in photos}
    wrong = [o for o,a in answers.items() if a.label != o.relative_to(folder).parts[0]]
    assert folder/'squash/sub/wrong.png' in wrong and (found.run.error.wrong, found.run.error.n) == (len(wrong), 24)
    assert found.run.by_label['squash'].n == 9 and found.unreadable == 1
    assert found.confident.n == sum(a.confident for a in answers.values())
    assert found.accepted.wrong == sum(classify(o).confident for o in (folder/'none').iterdir())
    covered = [o.relative_to(folder).parts[0] in a.labels for o,a in answers.items()]
    assert found.uncovered.wrong == covered.count(False)


def test_calibration_before_and_after(export_pkl, folder, tmp_path):
    "The probabilities as they were before the temperature, which divides logits, and both in one picture"
    card = Classifier(export_pkl).meta['card']
    files = {t: rewrite(export_pkl, tmp_path/f'{t}.pkl', change_meta(card=card | dict(temperature=t))) for t in (1, 2)}
    assert evaluate(files[1], folder).run.calibration_before == []
    found = evaluate(files[2], folder)
    for o in found.photos.itertuples():
        squares = [p**2 for _,p in Classifier(export_pkl)(o.path).ranked]
        assert o.uncalibrated == pytest.approx(squares[0]/sum(squares))
    assert sum(o.error.n for o in found.run.calibration_before) == 24
    assert 'before it was calibrated' in repr(found) and '>before<' in found.html()


def test_the_command_prints_a_table_and_writes_a_page(export_pkl, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['evaluate', str(folder), '--export', str(export_pkl)]) == 0
    out = capsys.readouterr().out
    assert re.search(r'^all +24 ', out, re.M) and '3 photos that show none' in out and "1 file can't be opened" in out
    page = (tmp_path/'evaluation.html').read_text('utf-8')
    assert '24 photos' in page and 'wrong.png' in page and '<script' not in page


def test_what_got_worse(export_pkl, folder, tmp_path, capsys):
    "A model that sees everything in other colours is worse, and the photos are named"
    worse = rewrite(export_pkl, tmp_path/'worse.pkl', change_meta(mean=[3., -3., 3.]))
    o = compare(export_pkl, worse, folder)
    assert (o.photos.change == 'worse').sum() > 5 and o.p < .05
    assert main(['compare', str(export_pkl), str(worse), str(folder)]) == 0
    out = capsys.readouterr().out
    assert 'more than chance' in out and all(str(p) in out for p in o.photos.path[o.photos.change == 'worse'])
    assert 'which may be chance' in repr(compare(export_pkl, export_pkl, folder))


def test_what_cannot_be_evaluated(export_pkl, folder, tmp_path, capsys):
    (tmp_path/'bears').mkdir()
    draw_photos(tmp_path/'bears/squash', 1)
    (tmp_path/'bears/squash').rename(tmp_path/'bears/grizzly')
    with pytest.raises(TellapartError, match='has the name of a label: sort some into badminton'): evaluate(export_pkl, tmp_path/'bears')
    with pytest.raises(TellapartError, match='There is no folder'): evaluate(export_pkl, tmp_path/'nowhere')
    other = rewrite(export_pkl, tmp_path/'other.pkl', change_meta(labels=['a', 'b', 'c']))
    with pytest.raises(TellapartError, match='only exports with the same labels'): compare(export_pkl, other, folder)
    broken = tmp_path/'broken/squash'
    broken.mkdir(parents=True)
    (broken/'a.jpg').write_text('no photo')
    assert main(['evaluate', str(broken.parent), '--export', str(export_pkl)]) == 1
    assert 'can be opened: evaluate others.' in capsys.readouterr().err
