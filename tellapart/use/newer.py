"Whether an export is out of date: its project has a newer export, or a model trained since"
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from tellapart.course import nearest
from tellapart.errors import TellapartError
from tellapart.paths import quote_path
from tellapart.use.classifier import read_meta


def _made_at(
    export:Path, # An export.pkl
)->float: # Seconds since 1970; 0 if it can't be read or doesn't say
    "When an export was made, by its meta.json, so that a copy has the same time"
    with suppress(TellapartError, KeyError, TypeError, ValueError):
        return datetime.fromisoformat(read_meta(export)['made']).timestamp()
    return 0


def _projects()->Iterator:
    "The project that TELLAPART_PROJECT names, the nearest one, and those in the folder `projects`"
    root = nearest('tellapart.toml', Path.cwd())
    files:list[str|Path|None] = [os.environ.get('TELLAPART_PROJECT'), root and root/'tellapart.toml', *Path('projects').glob('*.toml')]
    for file in files:
        if not file: continue
        from tellapart.project import read_project # here, because its import takes time
        with suppress(TellapartError): yield read_project(file)


def _find_project(export:Path, name:str|None):
    "The project called `name`, or the one whose folder contains `export`; `None` if there is no such project file"
    return next((o for o in _projects() if o.name == name or o.folder == export.parent), None)


def short_path(
    path:str|Path, # Of a file
)->str:
    "The shorter of a path as it is and relative to the current folder"
    try:
        return min(str(path), os.path.relpath(path), key=len)
    except ValueError:
        return str(path) # on another drive of Windows


def newer_models(
    export:str|Path, # An export.pkl. Raises `ExportError` where it can't be read
)->list[str]: # Sentences, each with what to type
    "What the export's project has that is newer than `export`"
    name = read_meta(export).get('card', {}).get('project')
    export = Path(export).absolute()
    p,made,found = _find_project(export, name),_made_at(export),[]
    folder = p.folder if p else export.parent
    own,trained = folder/'export.pkl',folder/'trained.pkl'
    if own.exists() and not own.samefile(export) and _made_at(own) > made:
        found.append(f"{short_path(own)} is newer: to use it, add --export {quote_path(short_path(own))}.")
    if trained.exists() and int(trained.stat().st_mtime) > max(made, _made_at(own)):
        project = quote_path(short_path(p.file)) if p else 'FILE'
        found.append(f"{short_path(trained)} was trained since: to export it, tellapart export --project {project}.")
    return found
