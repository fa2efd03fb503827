"constraints.txt has a tested version of everything that pyproject.toml asks for"
import tomllib
from pathlib import Path
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]


def test_a_version_of_everything():
    pins = {}
    for line in (ROOT/'constraints.txt').read_text('utf-8').splitlines():
        if line and not line.startswith('#'): pins.setdefault((r := Requirement(line)).name, []).append(r)
    project = tomllib.loads((ROOT/'pyproject.toml').read_text('utf-8'))['project']
    for wanted in map(Requirement, [*project['dependencies'], *(o for extra in project['optional-dependencies'].values() for o in extra)]):
        versions = [next(iter(o.specifier)).version for o in pins.get(wanted.name.lower().replace('_', '-'), [])]
        assert versions and all(wanted.specifier.contains(o) for o in versions), f'renew constraints.txt: {wanted} has {versions}'
