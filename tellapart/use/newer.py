"Whether an export is behind its project: a newer one, or a model trained since"
import os
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tellapart.course import nearest
from tellapart.errors import TellapartError
from tellapart.paths import quote_path
from tellapart.use.classifier import read_meta


def _made(
    export:Path, # An export.pkl
)->float: # Seconds since 1970; 0 if it can't be read or doesn't say
    "When an export was made, which its copies know as well"
    with suppress(TellapartError, KeyError, TypeError, ValueError):
        return datetime.fromisoformat(read_meta(export)['made']).timestamp()
    return 0


def _projects():
    "The projects whose files are at hand: the one that is named, the nearest, and those in `projects`"
    root = nearest('tellapart.toml', Path.cwd())
    files = [os.environ.get('TELLAPART_PROJECT'), root and root/'tellapart.toml', *Path('projects').glob('*.toml')]
    for file in filter(None, files):
        from tellapart.project import read_project # only here: whoever has no project needn't wait for it
        with suppress(TellapartError): yield read_project(file)


def _project_of(export, name):
    "The project called `name`, or the one whose folder `export` lies in; `None` where its file isn't at hand"
    return next((o for o in _projects() if o.name == name or o.folder == export.parent), None)


def short_path(
    path:str|Path, # Of a file
)->str:
    "A path as it is shortest to type here"
    try:
        return min(str(path), os.path.relpath(path), key=len)
    except ValueError:
        return str(path) # on another drive of Windows


def newer_models(
    export:str|Path, # An export.pkl. Raises `ExportError` where it can't be read
)->list[str]: # Sentences, each with what to type
    "What is newer than `export`"
    name = read_meta(export).get('card', {}).get('project')
    export = Path(export).absolute()
    p,made,told = _project_of(export, name),_made(export),[]
    folder = p.folder if p else export.parent
    own,trained = folder/'export.pkl',folder/'trained.pkl'
    if own.exists() and not own.samefile(export) and _made(own) > made: told.append(f"{short_path(own)} is newer: --export {quote_path(short_path(own))} answers by that one.")
    if trained.exists() and int(trained.stat().st_mtime) > max(made, _made(own)):
        told.append(f"{short_path(trained)} was trained since: to export it, tellapart export --project {quote_path(short_path(p.file)) if p else 'FILE'}.")
    return told
