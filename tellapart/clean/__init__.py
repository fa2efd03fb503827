"Clean labels: find label errors, correct them, and learn from corrections of sorted photos."
from tellapart.errors import need

need('fastcore', 'pandas', extra='learn')
