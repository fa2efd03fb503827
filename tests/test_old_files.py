"What older versions have written still opens, and gives the same answers"
import sqlite3
import pytest

pytest.importorskip('fastai')
from tellapart.catalog import Catalog


def test_a_catalog_whose_origins_are_called_sources(tmp_path):
    with Catalog(tmp_path) as catalog:
        for i,origin in enumerate(['own', 'web', 'feedback']): catalog.add('cat', f'{i}'.encode(), '.jpg', origin=origin)
        before = catalog.frame()
    db = sqlite3.connect(tmp_path/'ledger.db')
    with db: db.execute('alter table photos rename column origin to source')
    db.close()
    for _ in range(2):
        with Catalog(tmp_path) as catalog: assert catalog.frame().equals(before)
