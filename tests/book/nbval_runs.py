"""Run `pytest --nbval` on a notebook and say which cells failed."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from notebooks import ROOT, code_cells, read

TIMEOUT = 900  # seconds
# No notebook needs them, and pytest takes as long to load them as for all the rest of a small one.
NOT_LOADED = ("hypothesispytest", "zarr", "platformdirs")


def failures(path: Path) -> dict[str, str]:
    """Run one notebook under nbval, as a reader does.

    Args:
        path: the notebook. One outside the project gets the project's settings and tools beside it.

    Returns:
        What is said of each cell that fails, by its identifier; of the run "as a student finds it"
        by this name.

    """
    report = path.with_suffix(".xml")
    _run(path, f"--junitxml={report}")
    return dict(_failures(path, ElementTree.parse(report)))


def output(path: Path, *options: str) -> str:
    """Return what pytest prints of one notebook."""
    return _run(path, *options)


def failed(path: Path) -> set[str]:
    """Return the identifiers of the cells that fail."""
    return set(failures(path))


def _run(path: Path, *options: str) -> str:
    """Run pytest on a notebook; return what it prints."""
    if ROOT not in path.parents:
        for settings in ("conftest.py", "nbval_sanitize.cfg"):
            shutil.copy(ROOT / settings, path.parent)
        shutil.copytree(ROOT / "tools", path.parent / "tools", dirs_exist_ok=True)
        (path.parent / "pytest.ini").write_text("[pytest]\npythonpath = tools\n", encoding="utf-8")
    without = [f"-pno:{name}" for name in ("cacheprovider", *NOT_LOADED)]
    command = [sys.executable, "-m", "pytest", "-q", *without, "--nbval", str(path)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    done = subprocess.run(
        [*command, *options],
        cwd=path.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run {path}:\n{done.stdout}{done.stderr}")
    return done.stdout


def _failures(path: Path, report: ElementTree.ElementTree) -> Iterator[tuple[str, str]]:
    """nbval numbers the code cells from 0."""
    cells = code_cells(read(path))
    for case in report.iter("testcase"):
        number = case.attrib["name"].removeprefix("Cell ")
        name = cells[int(number)].id if number.isdigit() else number
        for trouble in (*case.iter("failure"), *case.iter("error")):
            yield name, trouble.text or ""
