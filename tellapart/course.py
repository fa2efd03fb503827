"Find the course's files, and copy them into a folder"
import json, os
from pathlib import Path
from . import __version__
from .errors import writing

# The course's files, relative to the root of a checkout; build_course.py puts them into the wheel.
FILES = ('notebooks/*.ipynb', 'notebooks/library/**/*.ipynb', 'projects/*.toml', 'tellapart.toml', 'benchmarks/*.md',
         'docs/glossary.md', 'docs/troubleshooting.md', 'docs/start.md', 'docs/ethics.md', 'docs/projects/*',
         'app.ipynb', 'voila.json', 'requirements.txt', 'Procfile', 'runtime.txt', '.python-version', '.gitignore')
PACKED = Path(__file__).with_name('course_files') # where the wheel has them


def files_of(
    root:Path, # A checkout, or `PACKED`
)->list[Path]: # Relative to `root`
    "The course's files"
    return [o.relative_to(root) for pattern in FILES for o in sorted(root.glob(pattern)) if '.ipynb_checkpoints' not in o.parts]


def shipped()->Path:
    "The folder of the course that came with this package"
    return PACKED if PACKED.exists() else Path(__file__).resolve().parents[1]


def nearest(
    file:str, # A path relative to the folder that is searched for
    folder:Path, # Where to start
)->Path|None: # `None` if there is none
    "The nearest folder at or above `folder` that has `file`"
    return next((o for o in (folder, *folder.parents) if (o/file).is_file()), None)


def course(
    *folders:Path, # Search in and above these, such as the project's folder
)->Path: # It has `notebooks/01_gather.ipynb`
    "The folder of the course: the nearest to one of `folders`, else the one that came with this package"
    return next(filter(None, (nearest('notebooks/01_gather.ipynb', o) for o in folders)), shipped())


# Where a notebook can be opened: name, the badge that each of these places offers, and the link
_PLACES = [
    ('Colab', 'https://colab.research.google.com/assets/colab-badge.svg',
     'https://colab.research.google.com/github/{repo}/blob/main/{file}'),
    ('Kaggle', 'https://kaggle.com/static/images/open-in-kaggle.svg',
     'https://kaggle.com/kernels/welcome?src=https://github.com/{repo}/blob/main/{file}'),
    ('Binder', 'https://mybinder.org/badge_logo.svg', 'https://mybinder.org/v2/gh/{repo}/main?urlpath=lab/tree/{file}')]
_SET_UP = """# On Colab, Kaggle and Binder: install tellapart, and fetch the project. On a computer that has both, this does nothing.
from importlib.util import find_spec
from pathlib import Path
if not (find_spec('tellapart') and find_spec('fastai')):
    %pip install --quiet "tellapart[learn]=={version}"
if not any((o/'tellapart.toml').exists() for o in (Path.cwd(), *Path.cwd().parents)):
    !git clone --quiet --depth 1 https://github.com/{repo}
    %cd {name}/notebooks"""
_BEFORE = "\n    !tellapart run {} # what this notebook builds on, as this computer is new"


def _with_set_up(data, file, repo):
    "A notebook of the course with badges that open it elsewhere, and the cell that those places need"
    before = [o.stem for o in files_of(shipped()) if o.parent == file.parent and o.name < min(file.name, '06')]
    code = _SET_UP.format(version=__version__, repo=repo, name=repo.partition('/')[2])
    if before: code += _BEFORE.format(' '.join(before))
    badges = '\n'.join(f'[![Open in {name}]({badge})]({link.format(repo=repo, file=file.as_posix())})' for name,badge,link in _PLACES)
    cell = lambda kind, id, text, **more: dict(cell_type=kind, id=id, metadata={}, **more, source=text.splitlines(keepends=True))
    nb = json.loads(data)
    nb['cells'][1:1] = [cell('markdown', 'c01ab001', badges),
                        cell('code', 'c01ab002', code, execution_count=None, outputs=[])]
    return (json.dumps(nb, indent=1, ensure_ascii=False) + '\n').encode()


def _content(file, root, repo):
    "The content of `file` for a copy of the course, for which the app's package comes from the package index"
    data = (root/file).read_bytes()
    if file.name == 'requirements.txt':
        return data + f'tellapart=={__version__}\n'.encode()
    return _with_set_up(data, file, repo) if repo and file.parent.name == 'notebooks' else data


def write_course(
    folder:str|Path, # Created if it is missing
    repo:str='', # `owner/name` on GitHub, where the folder will be; its notebooks then open on Colab, Kaggle and Binder, too
)->tuple[list[Path], list[Path]]: # Files written, and files skipped because a different one exists; both relative to `folder`
    "Write the course into a folder, without replacing any file"
    root,new,other = shipped(),[],[]
    for file in files_of(root):
        data,dst = _content(file, root, repo),Path(folder)/file
        with writing(dst):
            if os.path.lexists(dst):
                if not dst.is_file() or dst.read_bytes() != data: other.append(file)
                continue
            dst.parent.mkdir(parents=True, exist_ok=True)
            (part := dst.with_name(dst.name + '.part')).write_bytes(data)
            os.replace(part, dst)
            new.append(file)
    return new,other
