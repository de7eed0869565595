"""One chapter, run cell by cell, and the answers to its exercises: `grade.py` starts this.

It takes orders, a line of JSON each, from standard input, and replies to each with a line. The
order `{"run": source}` runs a cell of the worked chapter. The order `{"answer": file, …}` judges an
answer from the state that the chapter has reached; the chapter itself doesn't notice. Only the copy
that runs an answer reads it, so that it leaves nothing behind for the next.

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
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import fence
import wall

LONGEST = 10_000  # bytes of a verdict
WATCHED = (
    *("builtins", "contextlib", "io", "json", "math", "re"),
    *("numpy", "numpy.linalg", "numpy.random", "scipy.special", "scipy.stats"),
    *("torch", "torch.linalg", "torch.nn", "torch.nn.functional"),
    *("torch.distributions", "torch.distributions.kl", "torch.distributions.normal"),
)
ENDED = "the code ended Python"


class Case(NamedTuple):
    """An answer and its check."""

    answer: str  # a file: the student's cells from further up, and those for this exercise
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
        reply = judge(shell, Case(**order)) if "answer" in order else run(shell, order["run"])
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
    seal = os.urandom(16).hex()  # of a verdict: without it, anything that is written would be one

    def say(**verdict: Any) -> None:
        os.write(write, json.dumps(verdict | {"seal": seal}).encode())

    answer = os.open(case.answer, os.O_RDONLY)
    started = []

    def start(work: Any, *keep: int) -> None:
        started.append(fence.start(work, Path.cwd(), [*keep]))

    try:
        if case.apart:
            start(lambda: _answer(shell, case, answer, there), answer, there.fileno())
            there.close()
            start(lambda: _judge(shell, case, here, say), here.fileno(), write)
        else:
            start(lambda: _together(shell, case, answer, say), answer, write)
        os.close(write)
        return _heard(read, seal, case.seconds)
    finally:
        for process in started:
            process.end()
        os.close(read)
        os.close(answer)
        here.close()
        there.close()


def _answer(shell: Any, case: Case, answer: int, there: socket.socket) -> None:
    """Run the student's cells, then the function for whoever calls it from the other side."""
    link = wall.Link(there, networks=True)
    error = _run_all(shell, case.name, answer)
    found = [shell.user_ns[case.name]] if case.name in shell.user_ns else []
    try:
        link.send(error, found)
    except wall.WallError as trouble:
        link.send(str(trouble), None)
    with contextlib.suppress(wall.GoneError):
        link.serve()


def _judge(shell: Any, case: Case, here: socket.socket, say: Callable[..., None]) -> None:
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
        say(**verdict)
    except wall.GoneError:
        say(said=ENDED)
    except wall.WallError as trouble:
        say(said=f"{trouble} where numbers, arrays, tensors or tables are due")


def _together(shell: Any, case: Case, answer: int, say: Callable[..., None]) -> None:
    """Run the student's cells and the check in this process."""
    names, before = dict(shell.user_ns), dict(_watched())
    error = _run_all(shell, case.name, answer)
    names.pop(case.name, None)
    unsolved = names | {case.name: ...}
    if case.name in shell.user_ns:
        names[case.name] = shell.user_ns[case.name]
    verdict = _checked(names, case, error)
    after = dict(_watched())
    changed = [name for name, value in before.items() if after.get(name) is not value]
    changed += [name for name in after.keys() - before.keys() if name.startswith("nbvae.")]
    if changed:
        verdict = {"said": f"the code changes {changed[0]}"}
    elif verdict.get("solved") and _checked(unsolved, case, "").get("solved"):
        verdict = {"said": "with this code, the check praises no answer, too"}
    say(**verdict)


def _run_all(shell: Any, name: str, answer: int) -> str:
    """Run the student's cells, past errors; return the last error."""
    with os.fdopen(os.dup(answer), encoding="utf-8") as file:
        earlier, cells = json.load(file)
    for source in earlier:
        run(shell, source)
    shell.user_ns.pop(name, None)  # what has this name until here is no answer
    errors = [run(shell, source) for source in cells]
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
    return {"said": lines[0].group()[: LONGEST // 10], "solved": lines[0][1] == "✓"}


def _watched() -> Iterator[tuple[str, object]]:
    """Yield what a check relies on, of the package, of libraries and of this file."""
    spaces = {
        name: vars(module)
        for name, module in sys.modules.items()
        if isinstance(module, ModuleType) and (name in WATCHED or name.startswith("nbvae"))
    }
    for name, space in (spaces | {"judge": globals()}).items():
        for key, value in space.items():
            yield from _parts(f"{name}.{key}", value)
            if isinstance(value, type) and value.__module__ == name:
                for part, attribute in vars(value).items():
                    yield from _parts(f"{name}.{key}.{part}", attribute)
        for number, check in space.get("CHECKS", {}).items():
            yield from _parts(f"check {number}", check.diagnose)


def _parts(name: str, value: object) -> Iterator[tuple[str, object]]:
    """Yield a function or a class, and what can be changed of a function that stays the same."""
    if callable(value) or isinstance(value, classmethod | staticmethod | property):
        yield name, value
    if isinstance(value, FunctionType):
        for part in ("__code__", "__defaults__", "__kwdefaults__"):
            yield f"{name}.{part}", getattr(value, part)


def _heard(read: int, seal: str, seconds: float) -> dict[str, Any]:
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
        if verdict.pop("seal") != seal:
            return {"said": ENDED}
        return {"said": str(verdict["said"]), "solved": verdict.get("solved") is True}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {"said": ENDED}


def _in_a_line(error: BaseException) -> str:
    try:
        lines = f"{type(error).__name__}: {error}".splitlines()
    except Exception:  # in its own __str__
        lines = [type(error).__name__]
    return lines[0][: LONGEST // 10]


def _shell() -> Any:
    """Return what runs cells as a notebook does, without a kernel: it can be forked."""
    from IPython.core.history import HistoryManager
    from IPython.core.interactiveshell import InteractiveShell

    class Shell(InteractiveShell):
        def run_line_magic(self, magic_name: str, line: str, _stack_depth: int = 1) -> Any:
            """Go past errors: `%matplotlib widget` fails here, and no answer hangs on it."""
            with contextlib.suppress(Exception):
                return super().run_line_magic(magic_name, line, _stack_depth + 1)

        def enable_gui(self, gui: str | None = None) -> None:
            """No windows here."""

    HistoryManager.enabled = False  # type: ignore[assignment]  # it has a thread and a file
    shell: Any = Shell.instance(colors="nocolor", cache_size=0)
    shell.system = shell.system_raw  # no terminal for `!` lines
    shell.db = {}  # a file, else
    sys.path[0] = ""  # where a notebook's own modules lie, as in Jupyter
    return shell


if __name__ == "__main__":
    main()
