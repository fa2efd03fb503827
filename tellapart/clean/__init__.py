"Clean labels: find label errors, mark and apply them, learn from corrections of sorted photos."
from tellapart.errors import need

need('fastcore', 'pandas', extra='learn')
