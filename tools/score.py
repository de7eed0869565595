"""A plugin of pytest: after nbval, say how many exercises of each notebook are solved."""

from __future__ import annotations  # pytest 8 has no public TerminalReporter

from collections.abc import Generator

import pytest
import student
from nbval.plugin import IPyNbCell
from notebooks import tags

SOLVED = "exercise solved"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note of each check whether it passed; a property of a report reaches the main process."""
    report = yield
    is_check = isinstance(item, IPyNbCell) and student.CHECK_TAG in tags(item.cell)
    if is_check and (call.when == "call" or report.failed):
        report.user_properties.append((SOLVED, report.passed))
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter,
) -> Generator[None, None, None]:
    """Print a line for each notebook that has exercises, below everything else."""
    yield
    solved: dict[str, list[bool]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, value in getattr(report, "user_properties", ()):
                if name == SOLVED:
                    solved.setdefault(report.nodeid.partition("::")[0], []).append(value)
    if solved:
        terminalreporter.section("exercises solved")
        for notebook, checks in sorted(solved.items()):
            terminalreporter.write_line(f"{notebook}  {sum(checks)} of {len(checks)}")
        total = [check for checks in solved.values() for check in checks]
        terminalreporter.write_line(f"all  {sum(total)} of {len(total)}")
