"The table of a project file's settings, docs/settings.md, made from the fields and comments of `tellapart.project`"
import ast, re
from source import ROOT, modules

FILE = ROOT/'docs/settings.md'
SECTIONS = {'Project': '', 'Search': 'search', 'Train': 'train', 'Limits': 'limits'} # class → section of the file
HEAD = """# Settings

All that a project's file, such as `tellapart.toml`, may say. Only `name` and `[labels]` are needed; everything else has a default.
A misspelt key is reported, and never ignored. ([How it is read](../notebooks/library/06_project.ipynb).)
"""


def _default(code):
    "A default as TOML has it"
    code = re.sub(r'^Field\((.+?)(, \w+=.*)?\)$', r'\1', code)
    try: value = ast.literal_eval(code)
    except (ValueError, SyntaxError):
        return str(eval(code)) if re.fullmatch(r'[\d*_ ]+', code) else ''
    match value:
        case None | [] | {}: return ''
        case bool(): return str(value).lower()
        case str(): return f'"{value}"'
        case list(): return str(value).replace("'", '"')
    return str(value)


def settings()->str: # In Markdown
    "A table for each section"
    parts = [HEAD]
    for cls,section in SECTIONS.items():
        module = modules()['tellapart.images' if cls == 'Limits' else 'tellapart.project']
        fields = [o for o in module.fields(cls) if o.name[0] != '_' and o.name not in ('search', 'train', 'limits')]
        rows = ''.join(f'| `{o.name}` | {f"`{d}`" if (d := _default(o.value)) else ""} | {o.comment} |\n' for o in fields)
        parts.append((f'## [{section}]\n\n' if section else '') + '| key | default | what it says |\n|---|---|---|\n' + rows)
    return '\n'.join(parts)


def write(app=None):
    "Write the table if it has changed"
    if not FILE.exists() or FILE.read_text('utf-8') != settings(): FILE.write_text(settings(), 'utf-8')
