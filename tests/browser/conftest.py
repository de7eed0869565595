"""A browser for the figures that move: Debian's Chromium, driven by Playwright.

Its headless shell opens a page for a fifth of the work of the whole browser.
"""

import functools
import http.server
import shutil
import threading

import pytest
import samples
from hands import Opened
from playwright.sync_api import sync_playwright

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="session")
def browser():
    """The system's Chromium, without a window."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip("no Chromium on this machine; `apt-get install chromium` brings one")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def opened(browser):
    """Open pages with any of Playwright's options: opened(address, java_script_enabled=False)."""
    kept = []

    def open_page(address, **options):
        kept.append(Opened(browser, **options))
        kept[-1].page.goto(address)
        return kept[-1]

    yield open_page
    for page in kept:
        page.context.close()


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("figures")


@pytest.fixture(scope="session")
def written(folder):
    """Write a page with a figure and what it needs, NAME.html, when it is first asked for."""

    @functools.cache
    def write(name):
        path = folder / f"{name}.html"
        path.write_text(samples.document(samples.FIGURES[name]()), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def served(folder):
    """The address of that folder on loopback."""

    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Silent, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def figure(opened, written):
    """Open the page of a figure from its file."""
    return lambda name, **options: opened(written(name).as_uri(), **options)


@pytest.fixture(scope="session", autouse=True)
def no_other_figures():
    """A figure without a sample would go untested."""
    assert set(samples.FIGURES) == samples.scripts()
