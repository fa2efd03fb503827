"What pyproject.toml has setuptools do: the wheel gets the course's files, whose home is the root. (A setup.py would have Binder install more than the app needs.)"
import shutil, sys
from pathlib import Path
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))
from tellapart.course import PACKED, files_of


class WithCourse(build_py):
    "Put the course's files into the package, unless it is installed as a checkout"
    def run(self):
        super().run()
        if self.editable_mode:
            return
        packed = Path(self.build_lib)/PACKED.relative_to(ROOT)
        shutil.rmtree(packed, ignore_errors=True) # of an earlier build
        for o in files_of(ROOT):
            (packed/o).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT/o, packed/o)
