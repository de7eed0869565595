"""Check the answers of a class: `make grade CLASS=folder`.

The folder has a folder for each student, with the notebooks of the student edition in it. Only the
answers are taken out of them. They are put into the worked chapters, which are run. So nothing
else that was changed on the way counts, neither a check nor what it had printed.

It runs the code of others: use a machine, or a container, that may be thrown away.
"""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import student
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, from_dict
from notebooks import BOOK, chapters, code_cells, read
from outputs import CELL_TIMEOUT, client_of

COLUMNS = ("student", "exercise", "solved", "said")
SOLVED = "✓"


class Grade(NamedTuple):
    """One exercise of one student."""

    student: str
    exercise: str  # its number, "5.2"; the file's name where no chapter was found
    solved: bool
    said: str  # what the check printed, or what stood in its way


def grades(handed_in: Path, book: Path = BOOK) -> Iterator[Grade]:
    """Check everything in a folder of students.

    Args:
        handed_in: holds student/…/05_the_draft.ipynb; a file's name contains its chapter's.
        book: folder of the worked notebooks.

    Yields:
        A grade for each exercise of each notebook that was handed in, in the order of the files.

    """
    for path in sorted(handed_in.rglob("*.ipynb")):
        if any(part.startswith(".") for part in path.relative_to(handed_in).parts):
            continue  # what editors and systems leave behind
        who = path.relative_to(handed_in).parts[0]
        worked = next((c for c in chapters(book) if c.stem in path.stem), None)
        if worked is None:
            yield Grade(who, path.name, False, "no chapter has this name")
            continue
        try:
            answers = answers_in(read(path))
        except (ValueError, KeyError, TypeError) as error:
            yield Grade(who, path.name, False, f"cannot be read: {type(error).__name__}")
            continue
        for number, said in check(read(worked), answers, worked.parent).items():
            yield Grade(who, number, said.startswith(SOLVED), said)


def answers_in(notebook: NotebookNode) -> dict[str, str]:
    """Return the code below each task: the first code cell, whatever its tags are now."""
    found: dict[str, str] = {}
    number = None
    for cell in notebook.cells:
        if match := student.TASK.match(cell.source):
            number = match[1]
        elif cell.cell_type == "code" and number and number not in found:
            found[number] = cell.source
    return found


def check(worked: NotebookNode, answers: dict[str, str], folder: Path) -> dict[str, str]:
    """Run a chapter with these answers; return what the check of each exercise says."""
    worked = from_dict(worked)
    exercises = student.exercises(worked)
    for exercise in exercises:
        exercise.answer.source = answers.get(exercise.number, "")
    for cell in code_cells(worked):
        cell.outputs, cell.execution_count = [], None
    trouble = _run(worked, folder)
    return {
        e.number: _said(e) or trouble or "the check printed nothing"
        if e.number in answers
        else "the task was not handed in"
        for e in exercises
    }


def _run(notebook: NotebookNode, folder: Path) -> str:
    """Run all cells, past errors; return what ended the run before its end."""
    try:
        client_of(notebook, folder, allow_errors=True).execute()
    except CellTimeoutError:
        return f"a cell did not end within {CELL_TIMEOUT} s"
    except DeadKernelError:
        return "the code ended Python"
    return ""


def _said(exercise: student.Exercise) -> str:
    """Return the line of the check; an error in the answer's own cell comes first."""
    for cell in (exercise.answer, exercise.check):
        for output in cell.outputs:
            if output.output_type == "error":
                return f"{output.ename}: {output.evalue}".splitlines()[0]
    lines = [o.text.strip() for o in exercise.check.outputs if o.output_type == "stream"]
    return lines[-1].splitlines()[-1] if lines else ""


def summary(found: Iterable[Grade]) -> Iterator[str]:
    """Say of each exercise how many solved it, and what went wrong most often."""
    by_exercise: dict[str, list[Grade]] = {}
    for grade in found:
        by_exercise.setdefault(grade.exercise, []).append(grade)
    for exercise, of in by_exercise.items():
        wrong = Counter(grade.said for grade in of if not grade.solved)
        line = f"{exercise:6} {len(of) - wrong.total()} of {len(of)}"
        for said, count in wrong.most_common(1):
            line += f"   {count} × {said}"
        yield line


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Check the answers of a class.")
    parser.add_argument("handed_in", type=Path, help="a folder that has a folder for each student")
    parser.add_argument("--out", type=Path, default=Path("grades.csv"))
    options = parser.parse_args(arguments)
    if not options.handed_in.is_dir():
        print(f"There is no folder {options.handed_in}", file=sys.stderr)
        return 1
    found = []
    with options.out.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for grade in grades(options.handed_in):
            table.writerow([grade.student, grade.exercise, int(grade.solved), grade.said])
            file.flush()  # an interrupted run keeps what it has
            found.append(grade)
    if not found:
        print(f"{options.handed_in} holds no notebook", file=sys.stderr)
        return 1
    print(*summary(found), f"All of it is in {options.out}", sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
