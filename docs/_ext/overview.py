"The picture of the whole, docs/overview.svg, which the README and the site show"
from xml.sax.saxutils import escape
from source import ROOT

FILE = ROOT/'docs/overview.svg'
STEPS = [('gather', 'photos'), ('check', 'copies, sets'), ('train', 'models'), ('clean', 'labels'), ('export', 'one file')]
USES = [('classify', 'one photo'), ('sort', 'a folder, a million'), ('serve', 'an app, an API'), ('share', 'a page without a server')]
WIDTH,HEIGHT,BOX,GAP = 1000,300,84,22 # of the picture and of a step's box, in pixels
# The colours of both of a browser's schemes: GitHub shows the picture on either
STYLE = """text { font: 15px system-ui, sans-serif; fill: #1f2328; text-anchor: middle } .what { font-weight: 600 }
.small { font-size: 12px; fill: #59636e } rect { rx: 8px; fill: #fff; stroke: #8c959f }
.half { fill: #f1f4f7; stroke: none } .file { fill: #ddf4e4; stroke: #2da44e }
path { fill: none; stroke: #59636e; stroke-width: 1.5; marker-end: url(#tip) } #tip path { fill: #59636e; stroke: none }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } rect { fill: #161b22; stroke: #59636e }
.half { fill: #212830 } .file { fill: #12381f; stroke: #3fb950 } path { stroke: #9198a1 } #tip path { fill: #9198a1 } }"""


def _box(x, y, width, height, what='', small='', kind='box'):
    "A box with its name, and below it what comes of it"
    middle = x + width/2
    names = [f'<text class="what" x="{middle}" y="{y + height/2 - (3 if small else -5)}">{escape(what)}</text>'] if what else []
    if small: names.append(f'<text class="small" x="{middle}" y="{y + height/2 + 15}">{escape(small)}</text>')
    return f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}"/>' + ''.join(names)


def _arrow(*points): return '<path d="M' + ' L'.join(f'{x} {y}' for x,y in points) + '"/>'


def draw()->str: # SVG
    "Draw the two halves, and the file that joins them"
    left = 20
    steps = [_box(left + i*(BOX+GAP), 80, BOX, 56, *o) for i,o in enumerate(STEPS)]
    ends = [left + i*(BOX+GAP) for i in range(len(STEPS))]
    arrows = [_arrow((x + BOX, 108), (x + BOX + GAP - 3, 108)) for x in ends]
    clean,train = ends[3] + BOX/2,ends[2] + BOX/2
    arrows.append(_arrow((clean, 80), (clean, 62), (train, 62), (train, 77))) # clean, then train again
    file = ends[-1] + BOX + GAP
    uses = [_box(file + 176, 44 + i*56, 230, 46, *o) for i,o in enumerate(USES)]
    arrows += [_arrow((file + 120, 108), (file + 148, 108), (file + 148, 67 + i*56), (file + 173, 67 + i*56)) for i in range(len(USES))]
    arrows.append(_arrow((file + 291, 258), (file + 291, 282), (ends[1] + BOX/2, 282), (ends[1] + BOX/2, 251))) # photos that people correct
    catalog = _box(left, 192, 3*BOX + 2*GAP, 56, 'catalog', 'a row for each photo; nothing is lost')
    catalog_links = [_arrow((x + BOX/2, 136), (x + BOX/2, 189)) for x in ends[:2]]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="From gathering to sharing">',
        f'<style>{STYLE}</style>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 Z"/></marker></defs>',
        _box(4, 4, file - 14, HEIGHT - 8, kind='half'), _box(file + 132, 4, WIDTH - file - 136, HEIGHT - 8, kind='half'),
        f'<text class="small" x="{(file - 10)/2}" y="28">from an idea to a model, with fastai</text>',
        f'<text class="small" x="{(file + 132 + WIDTH)/2}" y="28">answers, without fastai and PyTorch</text>',
        *arrows, *catalog_links, *steps, catalog, _box(file, 80, 120, 56, 'export.pkl', 'both read it', 'file'), *uses,
        f'<text class="small" x="{file + 62}" y="276">corrections and feedback</text>', '</svg>']
    return '\n'.join(parts) + '\n'


def write(app=None):
    "Write the picture if it has changed"
    if not FILE.exists() or FILE.read_text('utf-8') != draw(): FILE.write_text(draw(), 'utf-8')
