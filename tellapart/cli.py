"The command line: each command is one call into the package, imported when it is asked for"
import argparse, errno, os, subprocess, sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from . import __version__
from .course import PACKED, course, nearest, write_course
from .errors import MissingExtra, need, NoProject, os_reason, TellapartError
from .dev.install import EXTRAS, checkout, install, prepare_kernels
from .paths import quote_path


def _install(args):
    "install what a part of tellapart needs into this virtual environment"
    install(args.extra)


def _course(args):
    "write the course into a folder: notebooks, projects, and the files of the app"
    new,other = write_course(args.folder)
    print(f"Files written into {args.folder}: {len(new)}.")
    if other: print(f"Left as they are, since they differ from the course's: {', '.join(o.as_posix() for o in other)}.")
    if not find_spec('fastai'): print('Training takes more than is installed here; first: tellapart install learn')
    print(f'Next: cd {quote_path(args.folder)}, and then tellapart run, which shows it all, or tellapart lab, to go through it yourself.')


def _new(args):
    "write the file of a new project"
    from .project import new_project
    file = new_project(args.name, args.labels)
    print(f"Wrote {file}. Look over its search terms, then: tellapart run --project {quote_path(file)}")


def _run(args):
    "run the course's notebooks from gather to export, or those that are named"
    from .dev.run_notebooks import run
    run(args.notebooks, args.project, rehearse=args.rehearse, save=args.save)


def _export_file(args):
    "The export.pkl that is named, else the one here, else the one that the project at hand made"
    named = args.export or os.environ.get('TELLAPART_EXPORT')
    if named or Path('export.pkl').exists():
        return Path(named or 'export.pkl')
    try:
        from .project import read_project
        made = read_project().export
    except (NoProject, MissingExtra): made = None # a machine that only answers
    if made and made.exists():
        return made
    raise TellapartError("There is no export.pkl here: name one with --export FILE, or make one by: tellapart run")


def _answering(args):
    "The export that answers; which one, if it wasn't named, and what is newer are said apart from the answers"
    file = _export_file(args)
    from .use.newer import newer_models, short_path
    told = [] if args.export else [f"{short_path(file)} answers."]
    for o in told + newer_models(file): print(o, file=sys.stderr)
    return file


def _serve(args):
    "serve the app"
    from .use.serve import serve
    serve(_answering(args), port=args.port)


def _classify(args):
    "say what photos show"
    from .use.classify import classify
    classify(args.photos, export=_answering(args), json=args.json)


def _sort(args):
    "sort a folder's photos into folders by what they show"
    from .use.sort.sort import sort
    if not args.ray:
        return sort(args.folder, args.to, _answering(args), args.how, args.keep_tree, args.dry_run)
    if args.how != 'copy' or args.keep_tree != 'label' or args.dry_run:
        raise TellapartError("With --ray nothing is brought anywhere: leave out --move, --link, --keep-tree and --dry-run.")
    from .use.batch_inference import classify_all
    classify_all(args.folder, args.to, _answering(args))


def _undo(args):
    "take back what was sorted"
    from .use.sort.sort import undo
    undo(args.folder)


def _review(args):
    "learn from sorted photos that you moved to another label's folder"
    need('pandas', 'fastcore', extra='learn')
    from .project import read_project
    from .clean.review import review
    review(args.folder, read_project(args.project))


def _export(args):
    "export the model that the project at hand has trained, or one of any fastai course project"
    from .export.export import export_project, export_summary, upgrade
    if args.old: path = upgrade(args.old, args.new or Path('export.pkl'), args.strangers, args.int8)
    else:
        from .project import read_project
        p = read_project(args.project)
        path = export_project(p, args.new, args.strangers or _drawn_strangers(p), args.int8)
    print(f"Wrote {path}. {export_summary(path)}".rstrip())


def _drawn_strangers(p):
    "A folder of photos of anything else, where the project's own are drawn, too"
    if not p.ground_truth.exists():
        return
    from .demo.fault_recall import draw_ood_photos
    return draw_ood_photos(p)


def _lab(args):
    "open the course in JupyterLab"
    need('jupyterlab', extra='learn')
    from jupyterlab.labapp import main
    here = Path.cwd()
    found = nearest('tellapart.toml', here)
    file = Path(args.project or os.environ.get('TELLAPART_PROJECT') or (found or course(here))/'tellapart.toml').absolute()
    if not file.is_file(): raise TellapartError(f"{file} doesn't exist; make a project by: tellapart new NAME LABEL LABEL")
    root = course(file.parent, here)
    if root == PACKED: raise TellapartError("The course isn't in this folder or above it: write it into one by tellapart course DIR, and open it there.")
    os.environ['TELLAPART_PROJECT'] = str(file) # Kernels inherit it, and start in another folder.
    prepare_kernels()
    main([f'--ServerApp.root_dir={root}', '--LabApp.default_url=/lab/tree/notebooks/01_gather.ipynb', '--allow-root']) # containers have no other user


def _test(args):
    "run the tests, the library's notebooks among them"
    need('pytest', 'xdist', 'nbdev', extra='test')
    import pytest
    from .machine import cpu_count
    os.chdir(checkout())
    cores = cpu_count()
    workers = min(cores, 4) # each takes about 3 GB of memory
    os.environ.setdefault('OMP_NUM_THREADS', str(cores//workers)) # trainings beside each other are slow with more threads than cores
    return pytest.main(['-rs', '-n', str(workers), '-m', args.which, *args.pytest_args])


def _bench(args):
    "run the benchmarks, or the one that is named"
    folder = checkout()/'benchmarks'
    names = sorted(o.stem for o in folder.glob('[!_]*.py'))
    if args.name and args.name not in names: raise TellapartError(f"There is no benchmark {args.name!r}; there are {', '.join(names)}.")
    need('psutil', extra='bench')
    photos = ['--photos', args.photos.resolve()] if args.photos else []
    return max(subprocess.call([sys.executable, folder/f'{o}.py', *photos]) for o in ([args.name] if args.name else names))


_STATUS = ("Exit status: 0 if it was done, also where some photos couldn't be opened, which their rows say; 1 if it couldn't be done, or there is no answer for any photo, with a "
           "sentence that says why; 2 if the command isn't understood; 130 after Ctrl-C; 141 if the program that reads the output has ended.")

def _parser():
    "What can be asked for, and how"
    parser = argparse.ArgumentParser(prog='tellapart', epilog=_STATUS, description="Tell things apart from photos of them: from an idea to a web page that answers.")
    parser.add_argument('--version', action='version', version=f'tellapart {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    def command(do):
        p = commands.add_parser(do.__name__[1:], help=do.__doc__, description=do.__doc__[0].upper() + do.__doc__[1:] + '.')
        p.set_defaults(do=do)
        return p.add_argument

    arg = command(_install)
    arg('extra', nargs='?', default='use', choices=EXTRAS, help="'use' answers, 'learn' trains too; 'test' and 'bench' are for work on tellapart itself")
    arg = command(_course)
    arg('folder', metavar='DIR', type=Path, help="made where it is missing; what is there already stays as it is")
    arg = command(_new)
    arg('name', metavar='NAME', help="the project's name")
    arg('labels', metavar='LABEL', nargs='+', help="what to tell apart, two at least; after -- if one begins with -")
    arg = command(_run)
    arg('notebooks', metavar='NOTEBOOK', nargs='*', help="such as 03_train; 01 to 05 if none is named")
    arg('--project', metavar='FILE', type=Path, help="the project's file; the nearest tellapart.toml if none is named")
    arg('--rehearse', action='store_true', help="on few photos that are drawn for the purpose, without the internet")
    arg('--save', action='store_true', help="write the outputs into the notebooks")
    arg = command(_serve)
    arg('--export', metavar='FILE', type=Path, help="the export.pkl that answers")
    arg('--port', metavar='N', type=int, default=8866, help="8866 if not given")
    arg = command(_classify)
    arg('photos', metavar='PHOTO', nargs='+', help="photo files")
    arg('--json', action='store_true', help="one line of JSON a photo instead of a table")
    arg('--export', metavar='FILE', type=Path, help="the export.pkl that answers")
    arg = command(_sort)
    arg('folder', metavar='FOLDER', help="photos, in whatever folders")
    arg('--to', metavar='DIR', required=True, help="where they go, into a folder per label; once more with the same DIR goes on where it stopped")
    how = commands.choices['sort'].add_mutually_exclusive_group().add_argument
    how('--move', dest='how', action='store_const', const='move', default='copy', help="move the photos instead of copying them")
    how('--link', dest='how', action='store_const', const='link', help="link to the photos, which takes no room")
    arg('--keep-tree', choices=('label/tree', 'tree/label'), default='label',
        help="keep the folders that the photos are in: below each label's folder, or with a folder per label in each of them")
    arg('--dry-run', action='store_true', help="only say what would go where")
    arg('--ray', action='store_true', help="only write what each photo shows, with all machines of a Ray cluster; "
        "FOLDER and DIR may be addresses such as s3://bucket/photos")
    arg('--export', metavar='FILE', type=Path, help="the export.pkl that answers")
    arg = command(_undo)
    arg('folder', metavar='DIR', type=Path, help="the folder that photos were sorted into, or a table in it")
    arg = command(_review)
    arg('folder', metavar='DIR', type=Path, help="the folder that photos were sorted into")
    arg('--project', metavar='FILE', type=Path, help="the project that learns; the nearest tellapart.toml if none is named")
    arg = command(_export)
    arg('--project', metavar='FILE', type=Path, help="the project's file; the nearest tellapart.toml if none is named")
    arg('--from', dest='old', metavar='OLD', type=Path, help="an export.pkl of another project that you trust: reading it runs the code in it")
    arg('--to', dest='new', metavar='NEW', type=Path, help="the file to write; else the project's own, with --from export.pkl here")
    arg('--strangers', metavar='DIR', type=Path, help="photos of anything but the labels, to measure how well the model tells that they are none of these")
    arg('--int8', action=argparse.BooleanOptionalAction, help="answer in 8 bits or in 32, whatever the project says and the photos show")
    arg = command(_lab)
    arg('--project', metavar='FILE', type=Path, help="the project's file; the nearest tellapart.toml if none is named")
    arg = command(_test)
    which = commands.choices['test'].add_mutually_exclusive_group().add_argument
    which('--quick', dest='which', action='store_const', const='not browser and not training and not slow', default='not slow',
        help="only what needs neither a browser nor a trained model, in a minute")
    which('--all', dest='which', action='store_const', const='', help="also what takes long, in up to an hour")
    arg('pytest_args', metavar='PYTEST_ARG', nargs='*', help="passed on to pytest, after --, as in: tellapart test -- -k photo")
    arg = command(_bench)
    arg('name', metavar='NAME', nargs='?', help="such as answer; all of them if none is named")
    arg('--photos', metavar='DIR', type=Path, help="real photos to measure with, a folder per label")
    return parser


def main(
    argv:list[str]|None=None, # Arguments; those of the process if `None`
)->int: # What the process should exit with, as `_STATUS` says
    "Run one command; what a person can put right is told in one sentence"
    for o in sys.stdout, sys.stderr:
        if hasattr(o, 'reconfigure'): o.reconfigure(errors='backslashreplace') # consoles and files that have no 犬 get \u72ac
    try:
        try:
            return _do(_parser().parse_args(argv))
        finally: print(end='', flush=True) # here, as what fails at the very end can't be caught
    except BrokenPipeError:
        _drop_output(sys.stdout, sys.stderr)
        return 141
    except OSError as e:
        if e.filename or e.errno not in (errno.ENOSPC, errno.EFBIG, errno.EIO): raise # that isn't about what we print
        _drop_output(sys.stdout)
        print(f"tellapart: What it has to say can't be written: {os_reason(e)}.", file=sys.stderr)
        return 1


def _do(args):
    "Run the command of `args`; what `main` returns"
    try:
        return args.do(args) or 0
    except TellapartError as e: print(f"tellapart: {e}", file=sys.stderr)
    except KeyboardInterrupt:
        print("tellapart: Stopped.", file=sys.stderr)
        return 130
    return 1


def _drop_output(*streams):
    "Let what may still be said go nowhere, as it can't be written, or nobody reads it"
    null = os.open(os.devnull, os.O_WRONLY)
    for o in streams:
        with suppress(AttributeError, OSError): os.dup2(null, o.fileno())
