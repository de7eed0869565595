"""What `pytest --nbval` needs to know, so that the plain command works from any folder."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CELL_TIMEOUT = 300  # seconds; the slowest cell takes a tenth of that on two cores


def pytest_configure(config: pytest.Config) -> None:
    """Run notebooks with the Python that runs pytest, under a limit that ends a hanging cell."""
    options = config.option
    if not getattr(options, "nbval", False):
        return
    if (config.rootpath / "tools" / "unsolved.py").exists():  # not beside a student's notebook
        config.pluginmanager.import_plugin("unsolved")
        config.pluginmanager.import_plugin("score")
    _find_room(config)
    # A backend chosen for scripts would keep the figures out of the notebooks.
    os.environ.pop("MPLBACKEND", None)
    # Matrices this small gain nothing from a second thread, and threads that wait by spinning
    # make training many times slower as soon as another process wants a core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if getattr(options, "dist", "no") in ("load", "worksteal"):  # by `-n 2` alone
        options.dist = "loadfile"  # the cells of a notebook belong together
    if options.nbval_kernel_name is None:
        options.nbval_current_env = True
    if options.nbval_sanitize_with is None:
        options.nbval_sanitize_with = str(config.rootpath / "nbval_sanitize.cfg")
    if not any("--nbval-cell-timeout" in arg for arg in config.invocation_params.args):
        options.nbval_cell_timeout = CELL_TIMEOUT


def _find_room(config: pytest.Config) -> None:
    """Where a home can't be written to, give the kernels a folder for what they keep there."""
    try:
        with tempfile.TemporaryFile(dir=Path.home()):
            return
    except (OSError, RuntimeError):  # read-only; unknown
        folder = tempfile.TemporaryDirectory(prefix="nbvae-")
        config.add_cleanup(folder.cleanup)
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR", "NUMBA_CACHE_DIR"):
            os.environ.setdefault(name, folder.name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let notebooks train on the CPU: what they store is its result, which a GPU gives only nearly.

    Tests keep the GPU, if there is one.
    """
    with pytest.MonkeyPatch.context() as patch:
        if item.path.suffix == ".ipynb":
            patch.setenv("CUDA_VISIBLE_DEVICES", "")  # its kernel starts with the first cell
        return (yield)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """Don't compare stderr: it holds progress bars and other packages' warnings."""
    if hasattr(collector, "skip_compare"):
        collector.skip_compare += ("stderr",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """On several cores, start with the files that take longest: none should be left for the end."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    # one process builds the site for all: who needs it, too, comes late enough to find it there
    slow -= {path for path in slow if path.match("tests/book/test_site*.py")}
    # files with slow tests, chapters, other files; within a file the order stays
    items.sort(
        key=lambda item: (
            not item.path.match("tests/browser/test_site_pages.py"),
            item.path not in slow,
            item.path.suffix != ".ipynb",
        )
    )
