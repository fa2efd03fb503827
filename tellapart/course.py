"The course's files: where they are, and a copy of them in a folder of one's own"
import os
from pathlib import Path
from . import __version__
from .errors import writing

# What the course consists of, below a checkout's root; build_course.py puts it into the wheel.
FILES = ('notebooks/*.ipynb', 'notebooks/library/**/*.ipynb', 'projects/*.toml', 'tellapart.toml', 'benchmarks/*.md',
         'app.ipynb', 'voila.json', 'requirements.txt', 'Procfile', 'runtime.txt', '.gitignore')
PACKED = Path(__file__).with_name('course_files') # Where the wheel has them


def files_of(
    root:Path, # A checkout, or `PACKED`
)->list[Path]: # From `root`
    "The files that belong to the course"
    return [o.relative_to(root) for pattern in FILES for o in sorted(root.glob(pattern)) if '.ipynb_checkpoints' not in o.parts]


def shipped()->Path:
    "Where the course came with this package"
    return PACKED if PACKED.exists() else Path(__file__).resolve().parents[1]


def nearest(
    place:str, # A file, from the folder that is looked for
    folder:Path, # Where to begin
)->Path|None: # `None` if there is none
    "The nearest folder at or above `folder` that has `place`"
    return next((o for o in (folder, *folder.parents) if (o/place).is_file()), None)


def course(
    *folders:Path, # Where to look, at and above: the project's folder, for instance
)->Path:
    "The folder that `notebooks/01_gather.ipynb` lies in: the nearest to one of `folders`, else the one that came with this package"
    return next(filter(None, (nearest('notebooks/01_gather.ipynb', o) for o in folders)), shipped())


def _content(file, root):
    "What `file` holds in a folder of one's own, where the package comes from the index instead of lying beside it"
    data = (root/file).read_bytes()
    return data + f'tellapart=={__version__}\n'.encode() if file.name == 'requirements.txt' else data


def write_course(
    folder:str|Path, # Made where it is missing
)->tuple[list[Path], list[Path]]: # The files that were written, and those left alone because something else stands there; both from `folder`
    "Write the course into a folder, and nothing over what is there"
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
