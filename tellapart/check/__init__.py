"Check photos: duplicates, image quality, files moved by hand, the split; what is set aside can be restored."
from tellapart.errors import need

need('fastcore', 'pandas', 'scipy', extra='learn')
