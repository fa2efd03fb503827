"Photos within a project's [limits] can be shown, trained on, exported and classified; a lack of memory or files rejects no photo"
import io, os, subprocess, sys
import numpy as np
import pytest
from PIL import Image
from fastai.vision.all import CategoryBlock, DataBlock, ImageBlock, error_rate, get_image_files, parent_label, resnet18, vision_learner
from tellapart.cli import main
from tellapart.check.quarantine import thumbnail_url
from tellapart.check.check import check, contact_sheet, working_copies
from tellapart.demo.draw import draw
from tellapart.export.export import export_project
from tellapart.check.inspection import inspect_image
from tellapart.gather.gather import gather
from tellapart.catalog import Catalog
from tellapart.project import read_project
from tellapart.check.splits import CatalogSplitter
from tellapart.train.resize import resize_transform, show_resize_methods
from tellapart.train.train import dataloaders, save_trained
from tellapart.images import Limits, OutOfResources
from tellapart.use.app import classify_upload
from tellapart.use.classifier import Classifier, read_meta

PROJECT = '''name = "small"
source = "folder"
own = "own"
labels = {squash = "squash", tennis = "tennis"}
[limits]
min_side = 20
max_ratio = 30
[train]
size = 64
epochs = 1
weights = "none"
'''
SIZES = (28, 28), (600, 24), (24, 600), (40, 30)


@pytest.fixture(scope='module')
def p(tmp_path_factory):
    folder = tmp_path_factory.mktemp('limits')
    for label in 'squash','tennis':
        (folder/'own'/label).mkdir(parents=True)
        for i in range(16): draw(label, i).resize(SIZES[i%4]).save(folder/'own'/label/f'{i}.png')
    (folder/'tellapart.toml').write_text(PROJECT)
    return read_project(folder/'tellapart.toml')


@pytest.fixture(scope='module')
def exported(p):
    "The project's export, after a short training as in the course"
    gather(p)
    check(p)
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label, splitter=CatalogSplitter(p),
                      item_tfms=resize_transform(p.train.resize_method, p.train.size))
    learn = vision_learner(dataloaders(block, p.working, p), resnet18, pretrained=False, metrics=error_rate)
    with learn.no_bar(), learn.no_logging(): learn.fit(p.train.epochs)
    save_trained(learn, block, p)
    return export_project(p, int8=False)


def test_all_are_gathered_and_shown(p, exported):
    with Catalog(p.folder) as catalog: df = catalog.frame()
    assert {*zip(df.width, df.height)} == {*SIZES}
    for files in df.path,df.working:
        sheet = np.asarray(contact_sheet(files[:4], columns=4))
        assert all(sheet[30:100, 30 + 126*i:100 + 126*i].std() > 1 for i in range(4)) # a photo, not an empty frame
        assert show_resize_methods(files[:4]).width > 160
    assert all(thumbnail_url(o) for o in df.itertuples())


def test_all_are_classified(p, exported, tmp_path, capsys):
    assert read_meta(exported)['limits'] == dict(max_bytes=Limits.max_bytes, max_pixels=Limits.max_pixels, min_side=20, max_ratio=30)
    files = sorted(p.own_photos.rglob('*.png'))
    classify = Classifier(exported)
    assert all(o.label for o in classify.many(files))
    assert all(classify(o).label for o in files[:4]) and classify.explain(files[1]).size == (64, 64)
    for o in files[:4]: assert classify_upload(classify, o.read_bytes()).label
    assert main(['sort', str(p.own_photos), '--to', str(tmp_path/'sorted'), '--export', str(exported)]) == 0
    assert "can't be opened" not in capsys.readouterr().out
    figures = sum(o.read_text().count('<figure>') for o in (tmp_path/'sorted').rglob('*.html'))
    assert figures == len(list((tmp_path/'sorted').rglob('*.png'))) > 0


def test_photos_outside_the_limits_are_refused(exported):
    small = Image.new('RGB', (19, 40))
    assert next(Classifier(exported).many([small])).reason.endswith('take one of at least 20 x 20.')


def test_a_working_copy_that_is_damaged_is_made_again(p, exported):
    with Catalog(p.folder) as catalog: df = catalog.frame()
    good = df.working.iloc[0].read_bytes()
    df.working.iloc[0].write_bytes(b'')
    assert working_copies(p, df) == {} and df.working.iloc[0].read_bytes() == good


def jpeg(im, **kw):
    im.save(f := io.BytesIO(), 'JPEG', **kw)
    return f.getvalue()


def test_notes_on_a_file_are_shown(exported):
    cut,deep = jpeg(draw('squash', 0))[:-9],io.BytesIO()
    Image.fromarray(np.asarray(draw('squash', 0).convert('L')).astype('uint16')*16).save(deep, 'PNG') # 12 bits in 16
    for content,note in (cut, 'cut short'), (deep.getvalue(), 'brightness guessed'):
        assert note in inspect_image(content)[0]['warnings'].split(', ')
        assert classify_upload(Classifier(exported), content).notes == (note,)


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists('/proc/self/statm'), reason="limits a process as Linux does")
def test_too_little_memory_stops_gathering_and_rejects_no_photo(tmp_path):
    for label in 'squash','tennis':
        (tmp_path/'own'/label).mkdir(parents=True)
        for i in range(2): draw(label, i, size=(96, 64)).save(tmp_path/'own'/label/f'{i}.png')
    Image.new('1', (10_000, 10_000)).save(tmp_path/'own'/'squash'/'huge.png')
    (tmp_path/'tellapart.toml').write_text(PROJECT)
    code = """if True:
        import resource
        from tellapart.gather.gather import gather
        from tellapart.catalog import Catalog
        from tellapart.project import read_project
        from tellapart.images import OutOfResources
        p = read_project()
        used = int(open('/proc/self/statm').read().split()[0])*resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 300*2**20, resource.RLIM_INFINITY))
        try: gather(p)
        except OutOfResources as e: print(e)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,)*2)
        with Catalog(p.folder) as catalog: print(catalog.db.execute('select count(*) from rejected').fetchone()[0])
        gather(p)
        with Catalog(p.folder) as catalog: print(len(catalog.frame()))"""
    run = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, env=os.environ | dict(TELLAPART_PROJECT='', MALLOC_ARENA_MAX='1'),
                         capture_output=True, text=True)
    message,rejected,n = run.stdout.splitlines()
    assert "huge.png can't be opened now (Cannot allocate memory); close other programs" in message, run.stderr
    assert rejected == '0' and n == '5', run.stderr


def test_too_many_open_files_stop_a_classification(exported, tmp_path):
    resource = pytest.importorskip('resource')
    (file := tmp_path/'photo.jpg').write_bytes(jpeg(draw('squash', 0)))
    classify,limits = Classifier(exported),resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(OutOfResources): next(classify.many([file], batch=1))
    finally: resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    long,below = classify.many([tmp_path/('x'*300), file/'below.jpg'])
    assert (long.reason, below.reason) == ('x'*300 + " can't be read: File name too long.", "below.jpg can't be read: Not a directory.")
