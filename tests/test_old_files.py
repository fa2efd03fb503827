"What older versions have written still opens, and gives the same answers"
import sqlite3
import pytest

pytest.importorskip('fastai')
from tellapart.catalog import Ledger


def test_a_ledger_whose_origins_are_called_sources(tmp_path):
    with Ledger(tmp_path) as ledger:
        for i,origin in enumerate(['own', 'web', 'feedback']): ledger.add('cat', f'{i}'.encode(), '.jpg', origin=origin)
        before = ledger.frame()
    db = sqlite3.connect(tmp_path/'ledger.db')
    with db: db.execute('alter table photos rename column origin to source')
    db.close()
    for _ in range(2):
        with Ledger(tmp_path) as ledger: assert ledger.frame().equals(before)
