"Find the course's files, and copy them into a folder"
import os
from pathlib import Path
from . import __version__
from .errors import writing

# The course's files, relative to the root of a checkout; build_course.py puts them into the wheel.
FILES = ('notebooks/*.ipynb', 'notebooks/library/**/*.ipynb', 'projects/*.toml', 'tellapart.toml', 'benchmarks/*.md',
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


def _content(file, root):
    "The content of `file` for a copy of the course, for which the app's package comes from the package index"
    data = (root/file).read_bytes()
    return data + f'tellapart=={__version__}\n'.encode() if file.name == 'requirements.txt' else data


def write_course(
    folder:str|Path, # Created if it is missing
)->tuple[list[Path], list[Path]]: # Files written, and files skipped because a different one exists; both relative to `folder`
    "Write the course into a folder, without replacing any file"
    root,new,other = shipped(),[],[]
    for file in files_of(root):
        data,dst = _content(file, root),Path(folder)/file
        with writing(dst):
            if os.path.lexists(dst):
                if not dst.is_file() or dst.read_bytes() != data: other.append(file)
                continue
            dst.parent.mkdir(parents=True, exist_ok=True)
            (part := dst.with_name(dst.name + '.part')).write_bytes(data)
            os.replace(part, dst)
            new.append(file)
    return new,other
