"What the benchmarks share: photos, a process for each measurement, and reports"
import argparse, json, os, platform, re, statistics, subprocess, sys, tempfile, time
from contextlib import suppress
from datetime import date
from importlib.metadata import version
from pathlib import Path
import numpy as np
import psutil
from PIL import Image
from tellapart.machine import cpu_count

HERE = Path(__file__).resolve().parent


def arguments(about):
    "The command line that every benchmark has"
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument('--photos', type=Path, metavar='DIR', help="real photos to measure with, a folder per label; without it some are drawn")
    return parser.parse_args()


def draw_photos(folder, labels=('badminton', 'squash', 'tennis'), n=12, size=(1500, 1000)):
    "Draw `n` photos of each label into `folder`, as large and as detailed as photos on the web are"
    rng = np.random.default_rng(0)
    for label in labels:
        (folder/label).mkdir(parents=True)
        for i in range(n):
            coarse = Image.fromarray(rng.integers(0, 256, (25, 38, 3), dtype='uint8')).resize(size, Image.Resampling.BICUBIC)
            fine = np.asarray(coarse) + rng.normal(0, 6, (size[1], size[0], 3))
            Image.fromarray(fine.clip(0, 255).astype('uint8')).save(folder/label/f'{label}-{i}.jpg', quality=85)
    return folder


def _held(process):
    "MB of memory that a process and its children hold now; where the system can tell, what they share counts once"
    held = 0
    with suppress(psutil.Error): # One of them has ended
        for o in (process, *process.children(recursive=True)):
            info = o.memory_full_info()
            held += getattr(info, 'pss', info.uss)/1e6
    return held


def apart(script, *what, python=sys.executable, **env):
    "What one measurement, run as a process of its own, says: a dict of numbers; with its `seconds` from start to end and the most memory it held, `peak`"
    with tempfile.TemporaryFile('w+') as said:
        peak,pause,start = 0,.1,time.perf_counter()
        # What is imported is compiled once, as for anybody, and no progress bars are drawn.
        env = os.environ | dict(PYTHONDONTWRITEBYTECODE='', TQDM_DISABLE='1') | env
        process = psutil.Popen([python, '-W', 'ignore', script, '--measure', *map(str, what)], stdout=said, env=env)
        while True:
            try: failed = process.wait(pause); break
            except psutil.TimeoutExpired:
                look = time.perf_counter()
                peak = max(peak, _held(process))
                pause = max(.1, 100*(time.perf_counter() - look)) # looking takes time from what is measured: a hundredth at most
        seconds = time.perf_counter() - start
        if failed: raise subprocess.CalledProcessError(failed, process.args)
        said.seek(0)
        return json.loads(said.read().splitlines()[-1]) | dict(seconds=seconds, peak=peak)


def median(runs):
    "The median of each number of several measurements"
    return {k: statistics.median(o[k] for o in runs) for k in runs[0]}


def memory():
    "MB of memory that this process holds now"
    return psutil.Process().memory_info().rss/1e6


def _machine():
    "What the figures were measured on"
    model = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text()) if Path('/proc/cpuinfo').exists() else None
    return dict(cpu=model[1] if model else platform.processor(), cores=cpu_count(), memory_gb=round(psutil.virtual_memory().total/1e9),
                system=platform.system(), python=platform.python_version())


def report(
    name, # Of the benchmark: its script's
    rows, # List of (name, value, unit)
    ratios, # Dict of name to number
    packages, # Names of those whose versions matter
    **versions, # Those of what isn't installed here
):
    "Print the figures, write results/NAME.json and renew the table in README.md"
    result = dict(name=name, date=str(date.today()), machine=_machine(), versions={o: version(o) for o in packages} | versions,
                  rows=[dict(name=n, value=float(f'{v:.4g}'), unit=u) for n,v,u in rows], ratios={k: float(f'{v:.3g}') for k,v in ratios.items()})
    (HERE/'results').mkdir(exist_ok=True)
    (HERE/'results'/f'{name}.json').write_text(json.dumps(result, indent=1) + '\n')
    table = _table(result)
    readme = HERE/'README.md'
    text,found = re.subn(f'(<!-- {name} -->\n).*?(<!-- /{name} -->)', lambda m: m[1] + table + m[2], readme.read_text(), flags=re.S)
    if not found: raise SystemExit(f"{readme} has no place for these figures: add the lines <!-- {name} --> and <!-- /{name} -->.")
    readme.write_text(text)
    print(table)


def _table(result):
    "The figures as a table in Markdown"
    m,v = result['machine'],', '.join(f'{k} {o}' for k,o in result['versions'].items())
    rows = ''.join(f"| {o['name']} | {' '.join(filter(None, [format(o['value'], 'g'), o['unit']]))} |\n" for o in result['rows'])
    ratios = ''.join(f"| **{k}** | **{o:g} times** |\n" for k,o in result['ratios'].items())
    return f"\n| | |\n|---|---:|\n{rows}{ratios}\n{result['date']}, {m['cpu']}, {m['cores']} cores, {m['memory_gb']} GB, {m['system']}, Python {m['python']}; {v}.\n\n"
