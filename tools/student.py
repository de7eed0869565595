"""Write the student edition, student/, from the worked notebooks in book/: `make student`.

An exercise is three cells. The task is Markdown and begins `### Exercise 5.2 · title`. The answer
is code; what stands between `### BEGIN SOLUTION` and `### END SOLUTION` becomes a stub. The check
is code with the tag `exercise-check`; what it printed is kept, so that `pytest --nbval student/`
fails at exactly the exercises that are not solved.
"""

import argparse
import ast
import hashlib
import json
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from notebooks import BOOK, ROOT, chapters, read, tags, write

BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
STUB = "...  # your code here"
ANSWER_TAG, CHECK_TAG = "hide-cell", "exercise-check"
TASK = re.compile(r"### Exercise (\d+\.\d+) · \S")
FINGERPRINT = "as_generated"
RECORD = ".as_generated.json"  # digests of the pages, in the folder of the student edition
LECTURERS = "for_lecturers.md"


class MarkerError(Exception):
    """Solution markers that don't pair up, or stand outside an exercise."""


class Exercise(NamedTuple):
    """The three cells of an exercise."""

    number: str
    task: NotebookNode
    answer: NotebookNode
    check: NotebookNode


def exercises(notebook: NotebookNode) -> list[Exercise]:
    """Return the exercises of a worked notebook.

    Raises:
        MarkerError: a task isn't followed by an answer and a check.

    """
    found = []
    for i, task in enumerate(notebook.cells):
        match = TASK.match(task.source)
        if task.cell_type != "markdown" or not match:
            continue
        answer_and_check = notebook.cells[i + 1 : i + 3]
        if [_role(cell) for cell in answer_and_check] != [ANSWER_TAG, CHECK_TAG]:
            raise MarkerError(
                f"Exercise {match[1]} (cell {task.id}) must be followed by a code cell tagged "
                f"{ANSWER_TAG} and a code cell tagged {CHECK_TAG}"
            )
        found.append(Exercise(match[1], task, *answer_and_check))
    return found


def name_of_answer(exercise: Exercise) -> str:
    """Return what the check calls the answer: the name that one cell sets and the other reads.

    Raises:
        MarkerError: there is no such name, or more than one.

    """
    read = {
        node.id
        for node in ast.walk(ast.parse(exercise.check.source))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    names = read & set(_set_by(ast.parse(exercise.answer.source)))
    if len(names) != 1:
        raise MarkerError(f"Exercise {exercise.number} checks {sorted(names) or 'no name'}")
    return names.pop()


def _set_by(module: ast.Module) -> Iterator[str]:
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            yield statement.name
        elif isinstance(statement, ast.Assign | ast.AnnAssign):
            names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
            yield from (name.id for name in names if isinstance(name.ctx, ast.Store))


def stub(source: str) -> str:
    """Replace each marked solution by one line, indented like its first marker.

    Raises:
        MarkerError: the markers don't alternate, or there are none.

    """
    kept: list[str] = []
    inside = False
    for line in source.split("\n"):
        marker = line.strip()
        if marker not in (BEGIN, END):
            kept += [] if inside else [line]
            continue
        if (marker == BEGIN) == inside:
            raise MarkerError(f"`{marker}` where the other marker was due")
        inside = not inside
        if inside:
            kept.append(line[: line.index(BEGIN)] + STUB)
    if inside:
        raise MarkerError(f"`{END}` is missing")
    if BEGIN not in source:
        raise MarkerError("no solution is marked")
    return "\n".join(kept)


def student_edition(notebook: NotebookNode, name: str) -> NotebookNode:
    """Return the notebook without the solutions.

    The answers lose their execution counts too: nbval then runs them without comparing what they
    print, which is the student's business.

    Raises:
        MarkerError: naming the notebook and the cell.

    """
    edition = nbformat.from_dict(notebook)
    try:
        answers = [exercise.answer for exercise in exercises(edition)]
        for cell in edition.cells:
            if cell in answers:
                _empty(cell)
            elif BEGIN in cell.source or END in cell.source:
                raise MarkerError(f"cell {cell.id}: a solution outside an exercise")
    except MarkerError as error:
        raise MarkerError(f"{name}: {error}") from None
    edition.metadata[FINGERPRINT] = fingerprint(edition)
    return edition


def fingerprint(notebook: NotebookNode) -> str:
    """Return a digest of all that a student can write into; running cells doesn't change it."""
    text = "\0".join(cell.source for cell in notebook.cells)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def edited(path: Path) -> bool:
    """Whether a student notebook holds someone's work; one that can't be read may."""
    if not path.exists():
        return False
    try:
        notebook = read(path)
        return notebook.metadata.get(FINGERPRINT) != fingerprint(notebook)
    except Exception:  # whatever can be wrong with a file
        return True


def pages(book: Path) -> dict[str, bytes]:
    """Return the files beside the notebooks that students get, by their paths.

    The page for lecturers tells what the exercises are about; it stays here, and so does each line
    that links to it.
    """
    found = {}
    for path in sorted(book.rglob("*")):
        name = path.relative_to(book)
        hidden = any(part.startswith(".") for part in name.parts)
        if hidden or not path.is_file() or path.suffix == ".ipynb" or path.name == LECTURERS:
            continue
        content = path.read_bytes()
        if path.suffix == ".md":
            lines = content.decode("utf-8").splitlines(keepends=True)
            content = "".join(line for line in lines if f"({LECTURERS}" not in line).encode()
        found[name.as_posix()] = content
    return found


def generate(
    book: Path, out: Path, *, numbers: Collection[int] = (), force: bool = False
) -> list[Path]:
    """Write the student edition of a book and the files that its pages link to.

    Args:
        book: folder of the worked notebooks.
        out: folder to write to.
        numbers: of the chapters; none means all.
        force: overwrite edited files too.

    Returns:
        The files that were left alone, because they have been edited.

    Raises:
        MarkerError: a notebook's exercises are malformed; nothing is written then.
        ValueError: there is no chapter of this number.

    """
    paths = {int(path.stem.partition("_")[0]): path for path in chapters(book)}
    if unknown := set(numbers) - paths.keys():
        raise ValueError(f"There is no chapter {min(unknown)}; there are {[*paths]}")
    chosen = [path for number, path in paths.items() if number in (numbers or paths)]
    editions = {path.name: student_edition(read(path), path.name) for path in chosen}
    keep = [out / name for name in editions if not force and edited(out / name)]
    for name, edition in editions.items():
        if out / name not in keep:
            out.mkdir(parents=True, exist_ok=True)
            write(edition, out / name)
    return keep + _write_pages(pages(book), out, force=force)


def _write_pages(pages: dict[str, bytes], out: Path, *, force: bool) -> list[Path]:
    """Write pages over those that were generated, not over others; return those others."""
    record, kept = out / RECORD, []
    known = _known(record)
    for name, content in pages.items():
        path = out / name
        was = path.read_bytes() if path.exists() else content
        changed = was != content and _digest(was) != known.get(name)
        if (changed or path.is_symlink()) and not force:  # a link may lead to anything
            kept.append(path)
            continue
        if path.is_symlink():
            path.unlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        known[name] = _digest(content)
    record.write_text(json.dumps(known, indent=1), encoding="utf-8")
    return kept


def _known(record: Path) -> dict[str, str]:
    """Return the digests of the pages that were generated; none from a record that was damaged."""
    try:
        return dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def numbers_in(text: str) -> list[int]:
    """Return the numbers of chapters that a text names: "5", "5-7", "5,7".

    Raises:
        ArgumentTypeError: it names none.

    """
    found: list[int] = []
    for part in text.rstrip(",").split(","):
        match = re.fullmatch(r"\s*(\d+)(?:\s*[-–]\s*(\d+))?\s*", part)
        if not match:
            raise argparse.ArgumentTypeError(f"{text!r} is no chapter; say 5, 5-7 or 5,7")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return 1 if a file was kept or a notebook is malformed."""
    parser = argparse.ArgumentParser(description="Write the notebooks without the solutions.")
    parser.add_argument("book", nargs="?", type=Path, default=BOOK)
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "student")
    parser.add_argument(
        "--chapter", type=numbers_in, action="extend", default=[], help="only these: 5, 5-7 or 5,7"
    )
    parser.add_argument("--force", action="store_true", help="overwrite edited files")
    options = parser.parse_args(arguments)
    try:
        kept = generate(options.book, options.out, numbers=options.chapter, force=options.force)
    except (MarkerError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for path in kept:
        print(f"{path} holds your work and stays as it is; --force replaces it", file=sys.stderr)
    print(f"The student edition is in {options.out}")
    return int(bool(kept))


def _role(cell: NotebookNode) -> str | None:
    """Return which part of an exercise a code cell is."""
    if cell.cell_type != "code":
        return None
    return next((tag for tag in (ANSWER_TAG, CHECK_TAG) if tag in tags(cell)), None)


def _empty(answer: NotebookNode) -> None:
    """Turn a worked answer into one to be written."""
    try:
        answer.source = stub(answer.source)
    except MarkerError as error:
        raise MarkerError(f"cell {answer.id}: {error}") from None
    answer.metadata["tags"] = [tag for tag in tags(answer) if tag != ANSWER_TAG]
    answer.outputs, answer.execution_count = [], None


if __name__ == "__main__":
    sys.exit(main())
