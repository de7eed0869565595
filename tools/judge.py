"""One chapter, run cell by cell, and the answers to its exercises: `grade.py` starts this.

It takes orders, a line of JSON each, from standard input, and replies to each with a line. The
order `{"run": source}` runs a cell of the worked chapter. The order `{"cells": […], …}` judges an
answer from the state that the chapter has reached; the chapter itself doesn't notice.

An answer is judged in forked copies of this process, so it starts from that state at once: one runs
the cells of the student; the other runs the check, with a `wall.Remote` in place of the student's
function. Both are behind a fence. What can't cross the wall (a network, a gradient) is judged
together, in a single process; code that means to can then fake the verdict.
"""

import contextlib
import io
import json
import os
import re
import select
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import fence
import wall

LONGEST = 10_000  # bytes of a verdict
WATCHED = ("builtins", "math", "numpy", "numpy.random", "scipy.stats", "torch", "torch.nn")
ENDED = "the code ended Python"


class Case(NamedTuple):
    """An answer and its check."""

    earlier: list[str]  # cells of the student from further up in the notebook
    cells: list[str]  # the student's for this exercise
    check: str  # source of the cell that checks
    number: str  # of the exercise
    name: str  # what the check calls the answer
    apart: bool  # whether the check runs in a process of its own
    seconds: float  # that the whole may take


def main() -> None:
    """Take orders until there are none."""
    orders, replies = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    fence.hide()
    shell = _shell()
    for line in orders:
        order = json.loads(line)
        reply = judge(shell, Case(**order)) if "cells" in order else run(shell, order["run"])
        print(json.dumps(reply), file=replies, flush=True)


def run(shell: Any, source: str) -> str:
    """Run a cell as Jupyter does; return its error, or ""."""
    done = shell.run_cell(source)
    if plt := sys.modules.get("matplotlib.pyplot"):
        plt.close("all")
    error = done.error_before_exec or done.error_in_exec
    return _in_a_line(error) if error else ""


def judge(shell: Any, case: Case) -> dict[str, Any]:
    """Judge an answer from the state that the shell is in.

    Returns:
        `solved`, if it is, and `said`: the line of the check, or what stood in its way.

    """
    here, there = socket.socketpair()
    read, write = os.pipe()
    desks = [_copy(Path.cwd()) for _ in range(2)]
    started = []
    try:
        if case.apart:
            keep = [there.fileno()]
            started.append(fence.start(lambda: _answer(shell, case, there), desks[0], keep))
            there.close()
            keep = [here.fileno(), write]
            started.append(fence.start(lambda: _judge(shell, case, here, write), desks[1], keep))
        else:
            started.append(fence.start(lambda: _together(shell, case, write), desks[0], [write]))
        os.close(write)
        return _heard(read, case.seconds)
    finally:
        for process in started:
            process.end()
        os.close(read)
        here.close()
        there.close()
        for desk in desks:
            shutil.rmtree(desk, ignore_errors=True)


def _answer(shell: Any, case: Case, there: socket.socket) -> None:
    """Run the student's cells, then the function for whoever calls it from the other side."""
    link = wall.Link(there, networks=True)
    error = _run_all(shell, case)
    found = [shell.user_ns[case.name]] if case.name in shell.user_ns else []
    try:
        link.send(error, found)
    except wall.WallError as trouble:
        link.send(str(trouble), None)
    with contextlib.suppress(wall.GoneError):
        link.serve()


def _judge(shell: Any, case: Case, here: socket.socket, write: int) -> None:
    """Run the check on what the other side has."""
    link = wall.Link(here)
    try:
        error, found = link.receive()
        if found is None:
            raise wall.WallError(error)
        names = {key: value for key, value in shell.user_ns.items() if key != case.name}
        names.update(zip([case.name], found, strict=False))
        verdict = _checked(names, case, error)
        if link.trouble:
            raise link.trouble
        _say(write, **verdict)
    except wall.GoneError:
        _say(write, said=ENDED)
    except wall.WallError as trouble:
        _say(write, said=f"{trouble} where numbers, arrays, tensors or tables are due")


def _together(shell: Any, case: Case, write: int) -> None:
    """Run the student's cells and the check in this process."""
    before = dict(_watched())
    error = _run_all(shell, case)
    after = dict(_watched())
    changed = [name for name, value in before.items() if after.get(name) is not value]
    changed += [name for name in after.keys() - before.keys() if name.startswith("nbvae.")]
    if changed:
        _say(write, said=f"the code changes {changed[0]}")
    else:
        _say(write, **_checked(shell.user_ns, case, error))


def _run_all(shell: Any, case: Case) -> str:
    """Run the student's cells, past errors; return the last error."""
    for source in case.earlier:
        run(shell, source)
    shell.user_ns.pop(case.name, None)  # what has this name until here is no answer
    errors = [run(shell, source) for source in case.cells]
    return next(filter(None, reversed(errors)), "")


def _checked(names: dict[str, Any], case: Case, error: str) -> dict[str, Any]:
    """Run the check; return its verdict.

    Args:
        names: what the check finds; without the answer, it is not run.
        case: the check.
        error: of the student's cells, said if they leave no answer.

    """
    if case.name not in names:
        return {"said": error or f"NameError: name '{case.name}' is not defined"}
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        try:
            exec(compile(case.check, "<check>", "exec"), names)
        except BaseException as trouble:
            return {"said": _in_a_line(trouble)}
    line = re.compile(rf"([✓✗]) Exercise {re.escape(case.number)}:.*")
    lines = [*filter(None, map(line.fullmatch, printed.getvalue().splitlines()))]
    if not lines:
        return {"said": "the check printed nothing"}
    if len(lines) > 1:  # judged together, and a line is the answer's own
        return {"said": f"prints {len(lines)} lines like the check's"}
    return {"said": lines[0].group(), "solved": lines[0][1] == "✓"}


def _watched() -> Iterator[tuple[str, object]]:
    """Yield the functions and classes that a check relies on, of the package and of libraries."""
    for name, module in list(sys.modules.items()):
        if isinstance(module, ModuleType) and (name in WATCHED or name.startswith("nbvae")):
            named = {f"{name}.{key}": value for key, value in vars(module).items()}
            named |= {
                f"check {key}": value for key, value in vars(module).get("CHECKS", {}).items()
            }
            yield from ((key, value) for key, value in named.items() if _is_relied_on(value))


def _is_relied_on(value: object) -> bool:
    return callable(value) or hasattr(value, "diagnose")


def _say(write: int, **verdict: Any) -> None:
    os.write(write, json.dumps(verdict).encode()[:LONGEST])


def _heard(read: int, seconds: float) -> dict[str, Any]:
    """Wait for the verdict."""
    text, until = b"", time.monotonic() + seconds
    while len(text) <= LONGEST:
        if not select.select([read], [], [], max(0, until - time.monotonic()))[0]:
            return {"said": f"does not end within {seconds:g} s"}
        part = os.read(read, LONGEST)
        if not part:
            break
        text += part
    try:
        verdict = json.loads(text)
        return {"said": str(verdict["said"]), "solved": verdict.get("solved") is True}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"said": ENDED}


def _copy(folder: Path) -> Path:
    """Copy the folder of the chapter, for one answer."""
    desk = Path(tempfile.mkdtemp(dir=folder.parent))
    shutil.copytree(folder, desk, dirs_exist_ok=True)
    return desk


def _in_a_line(error: BaseException) -> str:
    lines = f"{type(error).__name__}: {error}".splitlines()
    return lines[0][: LONGEST // 10]


def _shell() -> Any:
    """Return what runs cells as a notebook does, without a kernel: it can be forked."""
    from IPython.core.history import HistoryManager
    from IPython.core.interactiveshell import InteractiveShell

    HistoryManager.enabled = False  # type: ignore[assignment]  # it has a thread and a file
    shell: Any = InteractiveShell.instance(colors="nocolor", cache_size=0)
    shell.system = shell.system_raw  # no terminal for `!` lines
    return shell


if __name__ == "__main__":
    main()
