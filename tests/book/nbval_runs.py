"""Run `pytest --nbval` on a notebook and say which cells failed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from notebooks import ROOT, code_cells, read

TIMEOUT = 900  # seconds


def run_nbval(path: Path) -> dict[str, str]:
    """Run one notebook under nbval, as a reader does.

    Args:
        path: the notebook. One outside the project gets the project's settings beside it.

    Returns:
        "passed" or "failed" for the identifier of each code cell.

    """
    if ROOT not in path.parents:
        for settings in ("conftest.py", "nbval_sanitize.cfg"):
            shutil.copy(ROOT / settings, path.parent)
        (path.parent / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    report = path.with_suffix(".xml")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval", str(path)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
    done = subprocess.run(
        [*command, f"--junitxml={report}"],
        cwd=path.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest could not run {path}:\n{done.stdout}{done.stderr}")
    return _outcomes(path, ElementTree.parse(report))


def failed(path: Path) -> set[str]:
    """Return the identifiers of the cells that fail."""
    return {cell for cell, outcome in run_nbval(path).items() if outcome == "failed"}


def _outcomes(path: Path, report: ElementTree.ElementTree) -> dict[str, str]:
    """nbval numbers the code cells from 0."""
    cells = code_cells(read(path))
    outcomes = {}
    for case in report.iter("testcase"):
        cell = cells[int(case.attrib["name"].removeprefix("Cell "))]
        bad = case.find("failure") is not None or case.find("error") is not None
        outcomes[cell.id] = "failed" if bad else "passed"
    return outcomes
