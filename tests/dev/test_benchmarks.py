"The benchmarks' own code: a measurement in a process of its own, and the report"
import ast, json, re, shutil, subprocess, sys
from pathlib import Path
import pytest

pytest.importorskip('psutil')
BENCHMARKS = Path(__file__).resolve().parents[2]/'benchmarks'


def test_a_measurement_says_numbers(export_pkl):
    photos = sorted(export_pkl.parent.glob('photos/*/*'))
    command = [sys.executable, BENCHMARKS/'answer.py', '--measure', 'ours', export_pkl, *photos]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert all(o > 0 for o in json.loads(done.stdout).values()) and set(json.loads(done.stdout)) == {'cold', 'photo', 'memory'}


@pytest.mark.long
def test_a_measurement_counts_the_memory_of_children(tmp_path):
    # three seconds, because on a busy machine memory may be sampled only once a second
    (tmp_path/'child.py').write_text("import time; used = b'x'*10**8; time.sleep(3)")
    (tmp_path/'script.py').write_text("import subprocess, sys; print('words'); subprocess.run([sys.executable, 'child.py'])\n"
                                      "print('{\"n\": 1}')")
    code = f"import sys; sys.path.append({str(BENCHMARKS)!r}); from _bench import in_process; print(in_process('script.py'))"
    one = ast.literal_eval(subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert one['n'] == 1 and one['seconds'] > 0 and 100 < one['peak'] < 300


def test_the_table_on_top_is_of_the_results_that_are_there(monkeypatch):
    "Losses among its rows"
    monkeypatch.syspath_prepend(BENCHMARKS)
    from _bench import summary
    readme = (BENCHMARKS/'README.md').read_text('utf-8')
    assert readme.split('<!-- summary -->\n')[1].split('<!-- /summary -->')[0] == summary()
    ratios = [float(o) for o in re.findall(r'\*\*([\d.]+)\*\*', summary())]
    assert len(ratios) > 10 and min(ratios) < 1 < max(ratios)


def test_a_report_renews_its_table_and_its_file(tmp_path):
    "Its own table and no other, as often as it is run"
    shutil.copy(BENCHMARKS/'_bench.py', tmp_path)
    (tmp_path/'README.md').write_text('Before\n<!-- one -->\nold\n<!-- /one -->\nAfter\n')
    for seconds in 2.5, 1.25:
        code = f"from _bench import report; report('one', [('start', {seconds}, 's')], dict(start=2), ['numpy'])"
        subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True)
    text = (tmp_path/'README.md').read_text()
    assert text.startswith('Before\n<!-- one -->') and text.endswith('<!-- /one -->\nAfter\n')
    assert '| start | 1.25 s |' in text and 'old' not in text and '2.5 s' not in text
    result = json.loads((tmp_path/'results'/'one.json').read_text())
    assert result['rows'] == [dict(name='start', value=1.25, unit='s')] and result['ratios'] == dict(start=2)
    assert set(result) >= {'date', 'machine', 'versions'}


def test_figures_with_columns_stand_in_one_table(tmp_path):
    "A row per figure, with a ratio where there is one; what has no column comes below"
    shutil.copy(BENCHMARKS/'_bench.py', tmp_path)
    (tmp_path/'README.md').write_text('<!-- one -->\n<!-- /one -->\n')
    rows = [('time, ours', 1, 's'), ('time, theirs', 3, 's'), ('memory, ours', 5, 'MB'), ('photos', 402, '')]
    code = f"from _bench import report; report('one', {rows}, {dict(time=3, overhead=1.5)}, ['numpy'], columns=[['ours', 'theirs']])"
    subprocess.run([sys.executable, '-c', code], cwd=tmp_path, check=True)
    tables = (tmp_path/'README.md').read_text().split('\n\n')[1:3]
    assert [o.splitlines()[2:] for o in tables] == [['| time | 1 s | 3 s | **3** |', '| memory | 5 MB |  |  |'],
                                                    ['| photos | 402 |', '| **overhead** | **1.5 times** |']]
