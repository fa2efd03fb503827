"""Put the course's files, which are at the root of the checkout, into the wheel

pyproject.toml names this command. A setup.py would make Binder install more than the app needs."""
import shutil, sys
from pathlib import Path
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
from tellapart.course import PACKED, files_of


class WithCourse(build_py):
    "Copy the course's files into the package, except in an editable install"
    def run(self):
        super().run()
        if self.editable_mode:
            return
        packed = Path(self.build_lib)/PACKED.relative_to(ROOT)
        shutil.rmtree(packed, ignore_errors=True) # from an earlier build
        for o in files_of(ROOT):
            (packed/o).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT/o, packed/o)
