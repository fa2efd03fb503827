"The command line: each command is one call into the package, imported when the command is used"
import argparse, errno, os, subprocess, sys
from contextlib import suppress
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from . import __version__
from .course import PACKED, course, nearest, write_course
from .errors import MissingExtra, need, NoProject, os_reason, TellapartError
from .dev.install import EXTRAS, checkout, install, prepare_kernels
from .paths import quote_path


def _install(args):
    "install the packages that a part of tellapart needs into this virtual environment"
    install(args.extra)


def _course(args):
    "write the course into a folder: notebooks, projects and the app's files"
    if args.repo:
        from .share.base import repository_path
        repository_path(args.repo) # says what is wrong with it
    new,other = write_course(args.folder, args.repo)
    print(f"Files written into {args.folder}: {len(new)}.")
    if other: print(f"Not replaced, because they differ from the course's: {', '.join(o.as_posix() for o in other)}.")
    if not find_spec('fastai'): print('Training needs packages that are not installed here; first: tellapart install learn')
    print(f'Next: cd {quote_path(args.folder)}, then tellapart run to run all of it, or tellapart lab to go through it yourself.')
    if args.repo: print(f"Push the folder to the branch main of https://github.com/{args.repo}, and each notebook's badges open it there.")


def _new(args):
    "write the file of a new project"
    from .project import new_project
    file = new_project(args.name, args.labels)
    print(f"Wrote {file}. Edit its search terms, then: tellapart run --project {quote_path(file)}")


def _run(args):
    "run the course's notebooks from gathering to export, or those that are named"
    need('fastai', 'nbclient', 'nbdev', extra='learn')
    from .project import read_project
    p = read_project(args.project, args.rehearse) # before imports that take a second
    from .dev.run_notebooks import run
    run(args.notebooks, p, save=args.save)


def _export_file(args):
    "The export.pkl that is named, else the one in this folder, else the project's"
    named = args.export or os.environ.get('TELLAPART_EXPORT')
    if named or Path('export.pkl').exists():
        return Path(named or 'export.pkl')
    try:
        from .project import read_project
        exported = read_project().export
    except (NoProject, MissingExtra): exported = None # on a machine that is used for inference only
    if exported and exported.exists():
        return exported
    raise TellapartError("There is no export.pkl here: name one with --export FILE, or make one by: tellapart run")


def _export_to_use(args):
    "The export to use; says on stderr which one, unless it was named, and which models are newer"
    file = _export_file(args)
    from .use.newer import newer_models, short_path
    using = [] if args.export else [f"Using {short_path(file)}."]
    for o in using + newer_models(file): print(o, file=sys.stderr)
    return file


def _serve(args):
    "serve the web app on this machine"
    export = _export_to_use(args)
    from .serve.server import serve # which takes seconds to import
    serve(export, args.port, args.ip, args.lan, args.password, args.visitors, args.per_minute, args.frame_ancestors, args.debug)


def _share(args):
    "write a folder that others can use the app from: a page without a server, or a server on a host"
    from .share.base import hosts_table, share
    if not args.where:
        try: export = _export_file(args)
        except TellapartError: export = None
        return print(hosts_table(export))
    if not args.folder: raise TellapartError(f"Into which folder? tellapart share {args.where} DIR")
    shared = share(args.where, args.folder, _export_to_use(args), args.repo, args.site, args.one_file, args.runtime)
    print(f"Wrote {len(shared.files):,} file{'s' if len(shared.files) > 1 else ''} into {args.folder}, "
          f"{sum(map(len, shared.files.values()))/1e6:.1f} MB. {shared.told}".rstrip())
    print("Left to do:")
    for i,o in enumerate(shared.steps, 1): print(f'{i}. {o}')


def _doctor(args):
    "check this machine and project, or a folder that is to be shared"
    from .share.doctor import check_folder, check_machine
    return not (check_folder(args.folder) if args.folder else check_machine())


def _classify(args):
    "classify photos"
    from .use.classify import classify
    classify(args.photos, export=_export_to_use(args), json=args.json)


def _sort(args):
    "sort the photos in a folder into a folder per label"
    from .use.sort.sort import sort
    if not args.ray:
        return sort(args.folder, args.to, _export_to_use(args), args.how, args.keep_tree, args.dry_run)
    if args.how != 'copy' or args.keep_tree != 'label' or args.dry_run:
        raise TellapartError("With --ray no photo is copied or moved: leave out --move, --link, --keep-tree and --dry-run.")
    from .use.batch_inference import classify_all
    classify_all(args.folder, args.to, _export_to_use(args))


def _undo(args):
    "undo a sort"
    from .use.sort.sort import undo
    undo(args.folder)


def _review(args):
    "add sorted photos that you moved to another label's folder to the project"
    need('pandas', 'fastcore', extra='learn')
    from .project import read_project
    from .clean.review import review
    review(args.folder, read_project(args.project))


def _feedback(args):
    "show what visitors say about predictions, take the photos that they let you keep into a project, or delete one"
    need('sqlalchemy', extra='feedback')
    from .use.feedback import FeedbackStore, database_url
    store = FeedbackStore(database_url(_export_file(args).absolute().parent))
    if args.action == 'pull':
        need('pandas', 'fastcore', extra='learn')
        from .clean.feedback import pull_feedback
        from .project import read_project
        print(pull_feedback(read_project(args.project), store))
    elif args.action == 'delete':
        if not args.id: raise TellapartError("Which photo? Name what the visitor was told: tellapart feedback delete ID")
        if not store.delete(args.id): raise TellapartError(f"No photo is kept as {args.id}: it was deleted before, or the name is another.")
        print(f"Deleted {args.id}. Where it has been pulled into a project, its address there is feedback:{args.id}.")
    else:
        for (predicted,answer),n in sorted(store.counts().items()): print(f"{n:6,}  {predicted}: {answer}")
        print(f"{store.n_photos():6,}  photos kept")


def _export(args):
    "export a project's trained model, or the model of another fastai project"
    need('fastai', 'torch', extra='learn')
    if not args.old: # before the import of what exports, which takes seconds
        from .project import read_project
        p = read_project(args.project)
    from .export.export import export_project, export_summary, upgrade
    if args.old and args.rename: raise TellapartError("--rename needs the project that the model was trained in: leave out --from.")
    if args.old: path = upgrade(args.old, args.new or Path('export.pkl'), args.ood, args.int8)
    else: path = export_project(p, args.new, args.ood or _drawn_ood_photos(p), args.int8, dict(args.rename))
    print(f"Wrote {path}. {export_summary(path)}".rstrip())


def _renaming(text):
    "An argument of `--rename`: old and new label"
    old,sep,new = text.partition('=')
    if not (sep and old.strip() and new.strip()): raise argparse.ArgumentTypeError(f"{text!r} isn't OLD=NEW")
    return old.strip(),new.strip()


def _drawn_ood_photos(p):
    "A folder of drawn out-of-distribution photos, if the project's own photos are drawn by the demo web"
    if not p.ground_truth.exists():
        return
    from .demo.fault_recall import draw_ood_photos
    return draw_ood_photos(p)


def _evaluate(args):
    "evaluate an export on labelled photos that it has never seen"
    need('fastai', 'torch', extra='learn')
    from .errors import writing
    from .export.evaluate import evaluate
    found = evaluate(_export_to_use(args), args.folder)
    print(found)
    with writing(args.page): args.page.write_text(found.html(), 'utf-8')
    print(f"Wrote {args.page}.")


def _compare(args):
    "compare two exports on labelled photos: what got better, what got worse"
    need('fastai', 'torch', extra='learn')
    from .export.evaluate import compare
    print(compare(args.before, args.after, args.folder))


def _lab(args):
    "open the course in JupyterLab"
    need('jupyterlab', extra='learn')
    from jupyterlab.labapp import main
    here = Path.cwd()
    found = nearest('tellapart.toml', here)
    file = Path(args.project or os.environ.get('TELLAPART_PROJECT') or (found or course(here))/'tellapart.toml').absolute()
    if not file.is_file(): raise TellapartError(f"{file} doesn't exist; make a project by: tellapart new NAME LABEL LABEL")
    root = course(file.parent, here)
    if root == PACKED:
        raise TellapartError("The course isn't in this folder or above it: write it into one by tellapart course DIR, and open it there.")
    os.environ['TELLAPART_PROJECT'] = str(file) # for kernels, which start in another folder
    prepare_kernels()
    page = '/lab/tree/notebooks/01_gather.ipynb'
    main([f'--ServerApp.root_dir={root}', f'--LabApp.default_url={page}', '--allow-root']) # containers have no other user


def _docs(args):
    "build the site: course, library notebooks, documents and API reference"
    root = checkout()
    need('sphinx', 'myst_nb', 'furo', extra='docs')
    site = root/'docs/_build/html'
    code = subprocess.call([sys.executable, '-m', 'sphinx', '--quiet', '--fail-on-warning', '--conf-dir', root/'docs', root, site])
    if not code: print(f"Open {site/'index.html'}")
    return code


def _test(args):
    "run the tests, including the library's notebooks"
    need('pytest', 'xdist', 'nbdev', extra='test')
    import pytest
    from .machine import cpu_count
    os.chdir(checkout())
    cores = cpu_count()
    workers = min(cores, 4) # each takes about 3 GB of memory
    os.environ.setdefault('OMP_NUM_THREADS', str(cores//workers)) # trainings beside each other are slow with more threads than cores
    by_file = ['-n', str(workers), '--dist', 'loadfile', '--no-loadscope-reorder'] # the tests of a file share what they have made
    return pytest.main(['-rs', *by_file, '-m', args.which, *args.pytest_args])


def _bench(args):
    "run all benchmarks, or the one that is named"
    folder = checkout()/'benchmarks'
    names = sorted(o.stem for o in folder.glob('[!_]*.py'))
    if args.name and args.name not in names: raise TellapartError(f"There is no benchmark {args.name!r}; there are {', '.join(names)}.")
    need('psutil', extra='bench')
    photos = ['--photos', args.photos.resolve()] if args.photos else []
    codes = [subprocess.call([sys.executable, folder/f'{o}.py', *photos]) for o in ([args.name] if args.name else names)]
    return int(any(codes)) # one that a signal has ended is negative


_STATUS = ("Exit status: 0 if the command succeeded, even if some photos couldn't be opened, as the output then says; 1 if it failed, "
           "or if no photo could be classified, with the reason on stderr; 2 if the arguments are invalid; 130 after Ctrl-C; "
           "141 if the program that reads the output has ended.")


class _RenamedOption(argparse.Action):
    "An option under its old name: it works, and one line on stderr gives the new name"
    def __call__(self, parser, namespace, values, option_string=None):
        print(f"tellapart: {option_string} is now called --{self.dest}; the old name still works.", file=sys.stderr)
        setattr(namespace, self.dest, values)


def _parser():
    "The parser of all commands and their options"
    parser = argparse.ArgumentParser(prog='tellapart', epilog=_STATUS,
                                     description="Tell things apart from photos of them: from an idea to a web page that answers.")
    parser.add_argument('--version', action='version', version=f'tellapart {__version__}')
    commands = parser.add_subparsers(title='commands', metavar='COMMAND', required=True)
    def command(do):
        p = commands.add_parser(do.__name__[1:], help=do.__doc__, description=do.__doc__[0].upper() + do.__doc__[1:] + '.')
        p.set_defaults(do=do)
        return p.add_argument
    def project_option(arg, what="the project's file"):
        arg('--project', metavar='FILE', type=Path, help=f"{what}; default: the nearest tellapart.toml")
    def export_option(arg):
        arg('--export', metavar='FILE', type=Path, help="the export.pkl to use; default: the one in this folder, else the project's")

    arg = command(_install)
    arg('extra', nargs='?', default='use', choices=EXTRAS,
        help="'use' for inference (the default), 'learn' to train as well; 'docs', 'test' and 'bench' for work on tellapart itself")
    arg = command(_course)
    arg('folder', metavar='DIR', type=Path, help="created if it is missing; files in it are never replaced")
    arg('--repo', metavar='OWNER/NAME', default='',
        help="your repository on GitHub: the notebooks get badges that open them on Colab, Kaggle and Binder, and the cell that those need")
    arg = command(_new)
    arg('name', metavar='NAME', help="the project's name")
    arg('labels', metavar='LABEL', nargs='+', help="what to tell apart, two or more; after -- if one begins with -")
    arg = command(_run)
    arg('notebooks', metavar='NOTEBOOK', nargs='*', help="such as 03_train; default: 01 to 05")
    project_option(arg)
    arg('--rehearse', action='store_true', help="with few photos, from the built-in demo web; needs no internet")
    arg('--save', action='store_true', help="save the outputs in the notebooks")
    arg = command(_serve)
    export_option(arg)
    arg('--port', metavar='N', type=int, default=8866, help="default: 8866")
    arg('--ip', metavar='IP', default='127.0.0.1', help="the address to listen on; 0.0.0.0 for all of this machine; default: 127.0.0.1")
    arg('--lan', action='store_true', help="let phones and computers in the same network use it: prints the address, and its QR code")
    arg('--password', action='store_true', help="ask for a password that visitors need, and print its hash, to be set on a host")
    arg('--visitors', metavar='N', type=int, default=20,
        help="visitors at a time, where app.ipynb has cells of its own, for which each needs a kernel; default: 20")
    arg('--per-minute', metavar='N', type=int, default=300, help="photos that one address may send in a minute; default: 300")
    arg('--frame-ancestors', metavar='PAGES', default='*',
        help="pages that may show the app in a frame: none, self, or addresses such as https://blog.example; default: all")
    arg('--debug', action='store_true', help="show in the page what went wrong, in full; without it, that is only in the log")
    arg = command(_share)
    arg('where', metavar='WHERE', nargs='?', help="page, binder, heroku or docker; without it, what each costs and allows")
    arg('folder', metavar='DIR', nargs='?', type=Path, help="the folder to write, or to bring up to date")
    arg('--repo', metavar='OWNER/NAME', help="your repository on GitHub, or your account and the app's name, for links and commands")
    arg('--for', dest='site', default='', metavar='SITE',
        help="for a page: github, cloudflare, netlify or space, each with the files that it needs")
    arg('--one-file', action='store_true', help="for a page: one HTML file that opens by a double click, without a server or a network")
    arg('--runtime', metavar='FILE', type=Path, help="for a page, where npm can't be asked: the file that npm pack onnxruntime-web makes")
    export_option(arg)
    arg = command(_doctor)
    arg('folder', metavar='DIR', nargs='?', type=Path,
        help="a folder that tellapart share has written; without it, this machine and project")
    arg = command(_classify)
    arg('photos', metavar='PHOTO', nargs='+', help="image files")
    arg('--json', action='store_true', help="print one line of JSON per photo instead of a table")
    export_option(arg)
    arg = command(_sort)
    arg('folder', metavar='FOLDER', help="the folder of photos; its subfolders are included")
    arg('--to', metavar='DIR', required=True,
        help="where the photos go, into a folder per label; run it again with the same DIR to continue after an interruption")
    how = commands.choices['sort'].add_mutually_exclusive_group().add_argument
    how('--move', dest='how', action='store_const', const='move', default='copy', help="move the photos instead of copying them")
    how('--link', dest='how', action='store_const', const='link', help="link to the photos, which takes no disk space")
    arg('--keep-tree', choices=('label/tree', 'tree/label'), default='label',
        help="keep the tree of folders: below each label's folder, or with a folder per label in each of its folders")
    arg('--dry-run', action='store_true', help="only say which photos would go where")
    arg('--ray', action='store_true',
        help="write only a table of predictions, on all machines of a Ray cluster; FOLDER and DIR may be URLs such as s3://bucket/photos")
    export_option(arg)
    arg = command(_undo)
    arg('folder', metavar='DIR', type=Path, help="the folder that photos were sorted into, or a table in it")
    arg = command(_review)
    arg('folder', metavar='DIR', type=Path, help="the folder that photos were sorted into, or a zip that a shared page saved")
    project_option(arg, 'the project that gets them')
    arg = command(_feedback)
    arg('action', choices=('show', 'pull', 'delete'), nargs='?', default='show',
        help="show the counts (the default), pull photos into the project, or delete one")
    arg('id', metavar='ID', nargs='?', help="of the photo to delete, as the visitor was told")
    project_option(arg)
    export_option(arg)
    arg = command(_export)
    project_option(arg)
    arg('--from', dest='old', metavar='OLD', type=Path,
        help="an export.pkl of another project; only one that you trust, because reading it runs the code in it")
    arg('--to', dest='new', metavar='NEW', type=Path,
        help="the file to write; default: the project's own; with --from: export.pkl in this folder")
    arg('--ood', metavar='DIR', type=Path,
        help="out-of-distribution photos, which show none of the labels, to measure how well they are rejected")
    arg('--strangers', dest='ood', action=_RenamedOption, type=Path, help=argparse.SUPPRESS)
    arg('--rename', metavar='OLD=NEW', type=_renaming, action='append', default=[],
        help="rename a label, without training; labels with the same new name become one; may be given several times")
    arg('--int8', action=argparse.BooleanOptionalAction,
        help="an 8-bit or a 32-bit model; default: as the project says, else 8-bit if hardly any label changes")
    arg = command(_evaluate)
    arg('folder', metavar='FOLDER', type=Path,
        help="photos in a subfolder for each label; those in other subfolders show none of the labels")
    arg('--page', metavar='FILE', type=Path, default=Path('evaluation.html'), help="the page to write; default: evaluation.html")
    export_option(arg)
    arg = command(_compare)
    arg('before', metavar='A.pkl', type=Path, help="an export")
    arg('after', metavar='B.pkl', type=Path, help="another, with the same labels")
    arg('folder', metavar='FOLDER', type=Path, help="photos in a subfolder for each label")
    arg = command(_lab)
    project_option(arg)
    command(_docs)
    arg = command(_test)
    which = commands.choices['test'].add_mutually_exclusive_group().add_argument
    which('--quick', dest='which', action='store_const', const='not (browser or training or long or slow)', default='not slow',
        help="only what takes neither a browser nor a trained model, in about a minute")
    which('--all', dest='which', action='store_const', const='', help="also what takes long, in about an hour")
    arg('pytest_args', metavar='PYTEST_ARG', nargs='*', help="passed on to pytest; after --, as in: tellapart test -- -k photo")
    arg = command(_bench)
    arg('name', metavar='NAME', nargs='?', help="such as answer; default: all")
    arg('--photos', metavar='DIR', type=Path, help="real photos to use, in a folder per label")
    return parser


def main(
    argv:list[str]|None=None, # Arguments; those of the process if `None`
)->int: # The exit status, as in `_STATUS`
    "Run one command; an error that the user can fix is one sentence on stderr"
    for o in sys.stdout, sys.stderr:
        if isinstance(o, TextIOWrapper): o.reconfigure(errors='backslashreplace') # an encoding without 犬 gets \u72ac
    try:
        try:
            return _do(_parser().parse_args(argv))
        finally: print(end='', flush=True) # at the exit of Python, an error couldn't be caught any more
    except BrokenPipeError:
        _drop_output(sys.stdout, sys.stderr)
        return 141
    except OSError as e:
        if e.filename or e.errno not in (errno.ENOSPC, errno.EFBIG, errno.EIO): raise # not about the output
        _drop_output(sys.stdout)
        print(f"tellapart: The output can't be written: {os_reason(e)}.", file=sys.stderr)
        return 1


def _do(args):
    "Run the command of `args`; returns the exit status"
    try:
        return args.do(args) or 0
    except TellapartError as e: print(f"tellapart: {e}", file=sys.stderr)
    except KeyboardInterrupt:
        print("tellapart: Stopped.", file=sys.stderr)
        return 130
    return 1


def _drop_output(*streams):
    "Discard further output, which can't be written or isn't read"
    null = os.open(os.devnull, os.O_WRONLY)
    for o in streams:
        with suppress(AttributeError, OSError): os.dup2(null, o.fileno())
