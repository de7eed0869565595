"""Count what the chapters hold: `make census`. With --time, run each under nbval and time it."""

import argparse
import ast
import re
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import student
from nbformat import NotebookNode
from notebooks import ROOT, chapters, code_cells, read, tags

MATHS = re.compile(r"\$\$.*?\$\$|\$[^$]*\$", re.DOTALL)
ADDRESS = re.compile(r"\]\([^)]*\)")  # of a link
WORD = re.compile(r"[^\W\d_]{2,}")


class Census(NamedTuple):
    """What a chapter holds."""

    words: int  # of text, without code, formulas and the addresses of links
    figures: int
    predictions: int  # places where the reader is asked to predict first
    exercises: int
    claims: int  # assertions in visible cells, those of torch.testing and numpy.testing among them


def census(notebook: NotebookNode) -> Census:
    """Count a chapter."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return Census(
        words=len(WORD.findall(ADDRESS.sub("]", MATHS.sub(" ", text)))),
        figures=len(re.findall(r"^\*\*Figure \d+\.\d+\.\*\*", text, re.MULTILINE)),
        predictions=text.count("**Predict first:**"),
        exercises=len(student.exercises(notebook)),
        claims=sum(
            _claims(cell.source)
            for cell in code_cells(notebook)
            if "raises-exception" not in tags(cell)  # it may not even be Python
        ),
    )


def _claims(source: str) -> int:
    nodes = list(ast.walk(ast.parse(source)))
    called = [node.func for node in nodes if isinstance(node, ast.Call)]
    by_name = sum(isinstance(f, ast.Attribute) and f.attr.startswith("assert_") for f in called)
    return by_name + sum(isinstance(node, ast.Assert) for node in nodes)


def minutes(notebook: NotebookNode) -> int:
    """Return how long the head of a chapter says that it runs.

    Raises:
        ValueError: it does not say.

    """
    head = notebook.cells[0].source
    if not (found := re.search(r"\*\*Minutes on a CPU\*\* (\d+)", head)):
        raise ValueError(f"No minutes in the head of {head.partition(chr(10))[0]!r}.")
    return int(found[1])


def nbval_seconds(path: Path) -> float:
    """Run a chapter as the course checker does.

    Raises:
        SystemExit: a cell fails.

    """
    start = perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "--nbval", str(path)]
    if subprocess.run(command, cwd=ROOT, capture_output=True).returncode:
        sys.exit(f"{path.name} fails; see {' '.join(command[1:])}")
    return perf_counter() - start


def main() -> None:
    """Print one line per chapter; with --time, fail where a chapter's head promises too little."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--time", action="store_true", help="run each chapter under nbval")
    timed = parser.parse_args().time
    print(f"{'chapter':24}" + "".join(f"{field:>13}" for field in Census._fields))
    total, late = 0.0, []
    for path in chapters():
        notebook = read(path)
        counts = "".join(f"{count:13,}" for count in census(notebook))
        seconds = nbval_seconds(path) if timed else 0.0
        total += seconds
        print(f"{path.stem:24}{counts}" + f"{seconds:8.0f} s" * timed, flush=True)
        if seconds > 60 * minutes(notebook):
            late.append(path.stem)
    if timed:
        print(f"all chapters{total:85.0f} s")
    if late:
        sys.exit(f"Slower than their heads say, on this machine: {', '.join(late)}")


if __name__ == "__main__":
    main()
