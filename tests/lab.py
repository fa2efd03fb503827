"What the tests of widgets in JupyterLab share"
import sys
from contextlib import contextmanager
from notebooks import write_notebook
from webapp import served


@contextmanager
def open_lab(browser, folder, port, monkeypatch, widget, *cells):
    "A page with a notebook of `cells` in JupyterLab, run, which has shown what the selector `widget` finds"
    for o in 'LAB_WORKSPACES', 'LAB_SETTINGS', '_CONFIG', '_RUNTIME': monkeypatch.setenv(f'JUPYTER{o}_DIR', str(folder/o))
    write_notebook(folder/'widget.ipynb', *cells)
    command = [sys.executable, '-m', 'jupyterlab', f'--port={port}', '--no-browser', '--allow-root', '--IdentityProvider.token=',
               '--ServerApp.password=']
    with served(command, f'http://localhost:{port}/api/status', cwd=folder):
        page = browser.new_page(viewport=dict(width=1100, height=900))
        page.set_default_timeout(120_000)
        page.goto(f'http://localhost:{port}/lab/tree/widget.ipynb')
        restart(page, widget)
        yield page
        page.close()


def restart(page, widget):
    "Restart the kernel and run all cells; on a busy machine, JupyterLab may lose what it asks of a kernel that is starting, so ask again"
    from playwright.sync_api import TimeoutError # as conftest does, since only browser tests need it
    page.wait_for_selector('.jp-Notebook-ExecutionIndicator[data-status=idle]')
    page.evaluate("widget => document.querySelector(widget.split(' ')[0])?.setAttribute('class', 'gone')", widget)
    for patience in 25_000, 60_000, 120_000:
        page.get_by_title('Restart the kernel and run all cells').click()
        page.locator('.jp-Dialog .jp-mod-accept').click()
        try:
            return page.wait_for_selector(widget, timeout=patience)
        except TimeoutError:
            if patience == 120_000: raise
