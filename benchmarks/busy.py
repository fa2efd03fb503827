"Training while other programs keep cores busy: tellapart beside fastai's course code"
import json, subprocess, sys, time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

PIXELS,BATCH = 128,16
EPOCHS = 3 # after a warm-up epoch
PROGRAMS = {0: 'alone', 1: 'beside a busy program', 2: 'beside two'}


def measure(who, photos):
    "Train, and print the seconds per epoch"
    from fastai.vision.all import (CategoryBlock, DataBlock, ImageBlock, Normalize, RandomSplitter, Resize, aug_transforms, get_image_files,
                                   imagenet_stats, parent_label, resnet18, vision_learner)
    from tellapart.train.train import AutoMixedPrecision
    block = DataBlock((ImageBlock, CategoryBlock), get_items=get_image_files, get_y=parent_label,
                      splitter=RandomSplitter(.1, seed=1), item_tfms=Resize(PIXELS),
                      batch_tfms=[*aug_transforms(), Normalize.from_stats(*imagenet_stats)])
    learn = vision_learner(block.dataloaders(Path(photos), bs=BATCH, num_workers=0), resnet18, pretrained=False,
                           cbs=AutoMixedPrecision() if who == 'tellapart' else None)
    with learn.no_bar(), learn.no_logging():
        learn.fit(1)
        start = time.perf_counter()
        learn.fit(EPOCHS)
    print('\n' + json.dumps(dict(epoch=(time.perf_counter() - start)/EPOCHS)))


@contextmanager
def programs(n):
    "Run `n` busy programs, each in a session of its own, like programs that someone else has started"
    running = [subprocess.Popen([sys.executable, '-c', 'while True: pass'], start_new_session=True) for _ in range(n)]
    try: yield
    finally:
        for o in running:
            o.kill()
            o.wait()


def main():
    "Train with both, alone and beside busy programs, and report"
    from _bench import in_process, draw_photos, report
    names = dict(tellapart='tellapart', course='course code')
    epoch = {}
    with TemporaryDirectory() as tmp:
        photos = draw_photos(Path(tmp)/'photos', n=32, size=(300, 200))
        for n in PROGRAMS:
            for who in names:
                with programs(n): epoch[who, n] = in_process(__file__, who, photos)['epoch']
                print(f'{who} beside {n}: {epoch[who, n]:.1f} s', flush=True)
    rows = [(f'an epoch {PROGRAMS[n]}, {names[who]}', o, 's') for (who,n),o in epoch.items()]
    ratios = {f'an epoch {PROGRAMS[n]} / alone, {names[who]}': epoch[who, n]/epoch[who, 0] for n in PROGRAMS if n for who in names}
    report('busy', rows, ratios, ['tellapart', 'fastai', 'torch'], columns=[[*names.values()]])


if __name__ == '__main__':
    if sys.argv[1:2] == ['--measure']: measure(*sys.argv[2:])
    else:
        from _bench import arguments
        arguments(__doc__)
        main()
