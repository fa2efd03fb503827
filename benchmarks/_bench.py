"Shared by the benchmarks: photos, measurements in processes of their own, and reports"
import argparse, json, os, platform, re, shutil, statistics, subprocess, sys, tempfile, time
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path
import numpy as np
import psutil
from PIL import Image
from scipy.stats import t
from tellapart.machine import cpu_count

HERE = Path(__file__).resolve().parent
SEEDS = range(5)
# The table on top of README.md: question, benchmark, row, tellapart's column, the peers' columns, and whether less is better
SUMMARY = [
    ('photos gathered: how long it takes', 'gather', 'wall time', 'tellapart', ['jmd_imagescraper', 'fastai', 'img2dataset'], True),
    ('photos gathered: bad files kept', 'gather', 'bad files kept', 'tellapart', ['jmd_imagescraper', 'fastai', 'img2dataset'], True),
    ('copies found', 'duplicates', 'recall, all edits', 'tellapart', ['phash 8 x 8', 'phash 16 x 16', 'dhash 16 x 16'], False),
    ('an epoch of a ResNet', 'train', 'an epoch', 'tellapart', ['course code'], True),
    ('from photos to export.pkl', 'train', 'from photos to export.pkl', 'tellapart', ['course code'], True),
    ('an epoch beside a busy program', 'busy', 'an epoch beside a busy program', 'tellapart', ['course code'], True),
    ('wrong labels among the first 15 % reviewed', 'clean', 'recall, 15% reviewed', 'tellapart', ['fastai', 'cleanlab'], False),
    ('error after correcting those', 'clean', 'error after correcting the first 15%', 'tellapart', ['fastai', 'cleanlab'], True),
    ('start to first prediction', 'answer', 'import, load and first prediction', 'Classifier', ['fastai'], True),
    ('memory to classify', 'answer', 'memory', 'Classifier', ['fastai'], True),
    ('many photos, each', 'classify', 'time per photo', 'Classifier.many (8 bits)', ['learn.predict (loop)', 'get_preds (workers)'], True),
    ('photos of other things rejected', 'ood', 'far, rejected', 'knn+energy', ['softmax', 'energy', 'kNN', 'RMDS', 'fDBD', 'NCI'], False),
    ('photos of similar things: AUROC', 'ood', 'near, AUROC', 'knn+energy', ['softmax', 'energy', 'kNN', 'RMDS', 'fDBD', 'NCI'], False),
    ('a visitor can choose a photo', 'app', 'a visitor can choose a photo', 'tellapart', ['course app', 'Gradio'], True),
    ('memory of a further visitor', 'app', 'each further visitor', 'tellapart', ['course app', 'Gradio'], True),
    ('the page that a visitor loads', 'app', 'page, first visit', 'tellapart', ['course app', 'Gradio'], True),
    ('a photo in a browser, beside Python', 'page', 'a photo in 32 bits, two threads', 'page', ['Python'], True),
]


def arguments(about):
    "Parse the command line, which is the same for every benchmark"
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument('--photos', type=Path, metavar='DIR', help="photos, a folder per label; by default photos are drawn")
    return parser.parse_args()


def draw_photos(folder, labels=('badminton', 'squash', 'tennis'), n=12, size=(1500, 1000)):
    "Draw `n` photos of each label into `folder`, as large and detailed as photos on the web"
    rng = np.random.default_rng(0)
    for label in labels:
        (folder/label).mkdir(parents=True)
        for i in range(n):
            coarse = Image.fromarray(rng.integers(0, 256, (25, 38, 3), dtype='uint8')).resize(size, Image.Resampling.BICUBIC)
            fine = np.asarray(coarse) + rng.normal(0, 6, (size[1], size[0], 3))
            Image.fromarray(fine.clip(0, 255).astype('uint8')).save(folder/label/f'{label}-{i}.jpg', quality=85)
    return folder


def _draw_racket(folder, size, label, i):
    from tellapart.demo.draw import draw
    draw(f'{label} racket', i, size=size).save(folder/label/f'{label}-{i}.jpg', quality=88)


def draw_rackets(folder, n, size, labels=('badminton', 'squash', 'tennis')):
    "Draw `n` photos of each label as the demo does, on all cores"
    for o in labels: (folder/o).mkdir(parents=True)
    photos = [(o, i) for o in labels for i in range(n)]
    with ProcessPoolExecutor() as pool: list(pool.map(partial(_draw_racket, folder, size), *zip(*photos)))
    return folder


def _memory_of(process):
    "MB of memory that a process and its children use now; shared memory counts once if the system reports it"
    used = 0
    with suppress(psutil.Error): # one of them has ended
        for o in (process, *process.children(recursive=True)):
            info = o.memory_full_info()
            used += getattr(info, 'pss', info.uss)/1e6
    return used


def in_process(script, *args, python=sys.executable, **env):
    "Run one measurement in a process of its own; its dict of numbers, with its `seconds` from start to end and its `peak` memory in MB"
    with tempfile.TemporaryFile('w+') as output:
        peak,pause,start = 0,.1,time.perf_counter()
        # bytecode is cached, as for any user; no progress bars
        env = os.environ | dict(PYTHONDONTWRITEBYTECODE='', TQDM_DISABLE='1') | env
        process = psutil.Popen([python, '-W', 'ignore', script, '--measure', *map(str, args)], stdout=output, env=env)
        while True:
            try: failed = process.wait(pause); break
            except psutil.TimeoutExpired:
                begin = time.perf_counter()
                peak = max(peak, _memory_of(process))
                pause = max(.1, 100*(time.perf_counter() - begin)) # sampling may take at most a hundredth of the measured time
        seconds = time.perf_counter() - start
        if failed: raise subprocess.CalledProcessError(failed, process.args)
        output.seek(0)
        return json.loads(output.read().splitlines()[-1]) | dict(seconds=seconds, peak=peak)


def separate_environment(name, *others):
    "Python of an environment with the package `name` and what it is to be run with, and its version; `None` twice if it can't be installed"
    env = HERE.parent/'build'/name
    python = env/('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    ask = [python, '-c', f'import {name}; from importlib.metadata import version; print(version({name!r}))']
    if not python.exists(): subprocess.run([sys.executable, '-m', 'venv', env])
    try:
        if subprocess.run(ask, capture_output=True).returncode: subprocess.run([python, '-m', 'pip', 'install', '--quiet', name, *others])
        return python,subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        print(f"{name} can't be installed, and is left out.")
        return None,None


def median(runs):
    "The median of each number of several measurements"
    return {k: statistics.median(o[k] for o in runs) for k in runs[0]}


def interval(values):
    "Half the width of the 95 % interval of a mean, by Student's t"
    return float(t.ppf(.975, len(values) - 1)*np.std(values, ddof=1)/len(values)**.5)


def by_seed(name, photos, measure):
    "The numbers that `measure` finds with each seed; what an interrupted run on as many photos has found is kept until `report`"
    folder,found = HERE/'results'/f'{name}-seeds',[]
    what = f'{len(list(photos.glob("*/*"))):,} files of {photos.name}' if photos else 'drawn'
    folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        file = folder/f'{seed}.json'
        numbers = json.loads(file.read_text()) if file.exists() else {}
        if numbers.get('photos') != what:
            numbers = measure(seed) | dict(photos=what)
            (part := file.with_suffix('.part')).write_text(json.dumps(numbers, indent=1))
            os.replace(part, file)
        found.append({k: v for k,v in numbers.items() if k != 'photos'})
        print(f'seed {seed}: {found[-1]}', flush=True)
    return found


def memory():
    "MB of memory that this process uses now"
    return psutil.Process().memory_info().rss/1e6


def _machine():
    "The machine that the figures were measured on"
    model = re.search(r'model name\s*: (.*)', Path('/proc/cpuinfo').read_text()) if Path('/proc/cpuinfo').exists() else None
    return dict(cpu=model[1] if model else platform.processor(), cores=cpu_count(), memory_gb=round(psutil.virtual_memory().total/1e9),
                system=platform.system(), python=platform.python_version())


def report(
    name, # Of the benchmark: its script's
    rows, # List of (name, value, unit), or (name, value, unit, interval), half of whose width is shown
    ratios, # Dict of name to number; one with a row's name becomes a column of its table
    packages, # Installed packages whose versions are reported
    columns=(), # Lists of column names, one for each table; a row called "NAME, COLUMN" is put there
    **versions, # Versions of other packages
):
    "Print the figures, write results/NAME.json and update the tables in README.md"
    result = dict(name=name, date=str(date.today()), machine=_machine(), versions={o: version(o) for o in packages} | versions,
                  columns=[list(o) for o in columns], rows=[_row(*o) for o in rows],
                  ratios={k: float(f'{v:.3g}') for k,v in ratios.items()})
    (HERE/'results').mkdir(exist_ok=True)
    (HERE/'results'/f'{name}.json').write_text(json.dumps(result, indent=1) + '\n')
    table = tables(result)
    readme = HERE/'README.md'
    text,found = _put(readme.read_text(), name, table)
    if not found: raise SystemExit(f"{readme} has no section for these figures: add the lines <!-- {name} --> and <!-- /{name} -->.")
    readme.write_text(_put(text, 'summary', summary())[0])
    shutil.rmtree(HERE/'results'/f'{name}-seeds', ignore_errors=True)
    print(table)


def _put(text, name, table):
    "The text with a table in the section of that name, and whether there is such a section"
    return re.subn(f'(<!-- {name} -->\n).*?(<!-- /{name} -->)', lambda m: m[1] + table + m[2], text, flags=re.S)


def summary():
    "The table on top of README.md, from all results that are there"
    lines = []
    for question,name,row,ours,peers,less in SUMMARY:
        if not (file := HERE/'results'/f'{name}.json').exists(): continue
        found = {o['name']: o for o in json.loads(file.read_text())['rows']}
        mine,theirs = found[f'{row}, {ours}'],{o: found[f'{row}, {o}'] for o in peers}
        best = (min if less else max)(theirs, key=lambda o: theirs[o]['value'])
        a,b = (theirs[best]['value'], mine['value']) if less else (mine['value'], theirs[best]['value'])
        ratio = f'{a/b:.3g}' if b else 'all' # of the bad files that the peer keeps
        lines.append(_line(f'[{question}](#{name})', _cell(mine), _cell(theirs[best]), best, f'**{ratio}**', 'less' if less else 'more'))
    header = _line('question', 'tellapart', 'best peer', 'which', 'ratio', 'better is') + '|---|---:|---:|---|---:|---|\n'
    return '\n' + header + ''.join(lines) + '\n'


def _row(name, value, unit, interval=None):
    return dict(name=name, value=float(f'{value:.4g}'), unit=unit) | ({} if interval is None else dict(interval=float(f'{interval:.2g}')))


def _cell(row):
    if not row:
        return ''
    value = f"{row['value']:g}" + (f" ± {row['interval']:g}" if 'interval' in row else '')
    return ' '.join(filter(None, [value, row['unit']]))


def _line(*cells): return f"| {' | '.join(cells)} |\n"


def _table(names, rows, ratios):
    "Figures that have a column each, as a table in Markdown"
    by_name = {}
    for o in rows:
        for column in names:
            if o['name'].endswith(f', {column}'): by_name.setdefault(o['name'].removesuffix(f', {column}'), {})[column] = o
    with_ratio = bool(by_name.keys() & ratios.keys())
    header = _line('', *names, *(['ratio'] if with_ratio else [])) + '|---' + '|---:'*(len(names) + with_ratio) + '|\n'
    ratio = lambda name: [f'**{ratios[name]:g}**' if name in ratios else ''] if with_ratio else []
    return header + ''.join(_line(name, *(_cell(o.get(column)) for column in names), *ratio(name)) for name,o in by_name.items())


def tables(result):
    "The figures as tables in Markdown: one for each list of columns, and one for what has none; and the conditions"
    groups = [[o for o in result['rows'] if any(o['name'].endswith(f', {column}') for column in names)] for names in result['columns']]
    found = [_table(names, rows, result['ratios']) for names,rows in zip(result['columns'], groups)]
    in_column = {o['name'].removesuffix(f', {column}') for names,rows in zip(result['columns'], groups) for o in rows for column in names}
    rest = [o for o in result['rows'] if not any(o in rows for rows in groups)]
    lines = [_line(o['name'], _cell(o)) for o in rest]
    lines += [_line(f'**{k}**', f'**{o:g} times**') for k,o in result['ratios'].items() if k not in in_column]
    if lines: found.append('| | |\n|---|---:|\n' + ''.join(lines))
    m,v = result['machine'],', '.join(f'{k} {o}' for k,o in result['versions'].items())
    conditions = f"{result['date']}, {m['cpu']}, {m['cores']} cores, {m['memory_gb']} GB, {m['system']}, Python {m['python']}; {v}.\n"
    return '\n' + '\n'.join([*found, conditions]) + '\n'
