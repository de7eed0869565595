"""Check the answers of a class: `make grade CLASS=folder`.

`handed_in.py` reads all notebooks first; only the answers are taken out of them. For each chapter,
`judge.py` runs the worked notebook once, in a copy of the project. At each exercise it judges all
students' answers, each by itself and from the same state, after the worked answers before it; so a
class takes little longer than the chapters do. An answer that ends that process costs a new one.

The check does not run where the answer runs (`wall.py`), so printing, changing the checks or
changing NumPy is of no use. What code that means to deceive can still do:

- reply to the check's questions from a list: a check asks the same questions each time;
- where an answer can't be judged apart (the column `judged` says "together"), change what the check
  sees and put it back, or write the verdict in its stead;
- use a fault of NumPy, pandas or the system;
- where the machine lacks what `fence.py` asks for, do what you can do: read the other answers, end
  the run. The command says so before it starts.

So it still runs the code of others: use a machine, or a container, that may be thrown away.
"""

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import fence
import student
from handed_in import VERSIONS, Answer, Notebook, Worked, read_all
from nbformat import NotebookNode
from notebooks import BOOK, ROOT, chapters, read

SECONDS = 60  # that an answer may take
LONGEST = 300  # characters of what is said
SOLVED = "✓"
GRADIENTS = ("4.5",)  # a right answer may differentiate the check's function: judged together
# What an answer may know of the environment: how to compute, and no secret.
HANDED_ON = re.compile(
    r"PATH|HOME|LANG|TZ|VIRTUAL_ENV|"
    r"(LC|XDG|PYTHON|LD_LIBRARY|DYLD|OMP|MKL|OPENBLAS|ATEN|DNNL|ONEDNN|NUMBA|NBVAE).*"
)
# A spreadsheet runs what begins so; with other settings, a cell begins at a semicolon, too.
FORMULA = re.compile(r"(?:^|;)\s*(?=[=+\-@\uff1d\uff0b\uff0d\uff20])")
NOT_HANDED_IN = "the task was not handed in"


class Grade(NamedTuple):
    """One exercise of one student."""

    student: str
    exercise: str  # its number, "5.2"; the file's name where nothing could be read
    solved: bool
    said: str  # what the check printed, or what stood in its way
    judged: str = ""  # "apart" from the answer, or "together" in one process


def grades(handed_in: Path, book: Path = BOOK, seconds: float = SECONDS) -> Iterator[Grade]:
    """Check everything in the folder of a class.

    Args:
        handed_in: as it was unpacked, see `handed_in.py`.
        book: folder of the worked notebooks.
        seconds: that an answer may take.

    Yields:
        A grade for each exercise of each chapter of which a student handed in a notebook, as it is
        known: by exercises, then by students. Then what could not be read.

    """
    notebooks = {path: read(path) for path in chapters(book)}
    worked = Worked(notebooks)
    found, unread = read_all(handed_in, worked)
    project = Project(book)
    by_chapter: dict[Path, list[Notebook]] = {}
    for notebook in found:
        for path in _chapters_of(notebook, worked):
            by_chapter.setdefault(path, []).append(notebook)
    for path in sorted(by_chapter):
        print(f"{path.stem} …", file=sys.stderr)
        with Chapter(notebooks[path], project, seconds) as chapter:
            yield from _of_chapter(chapter, by_chapter[path], worked)
    yield from (Grade(u.student, u.name, False, u.said) for u in unread)


def _chapters_of(notebook: Notebook, worked: Worked) -> set[Path]:
    """Return the chapters of which a notebook answers something; none if it is the book's own."""
    if not notebook.answers:
        return {path for path in [worked.named_like(notebook.path)] if path}
    return {
        worked.chapter[number]
        for number, answers in notebook.answers.items()
        if not all(worked.is_own(number, answer) for answer in answers)
    }


def _of_chapter(chapter: "Chapter", found: list[Notebook], worked: Worked) -> Iterator[Grade]:
    """Judge all answers to each exercise before the chapter goes on."""
    for exercise in chapter.exercises:
        chapter.reach(exercise)
        for who in sorted({notebook.student for notebook in found}):
            own = [n for n in found if n.student == who]
            answers = [a for n in own for a in n.answers.get(exercise.number, ())]
            verdict = {"said": NOT_HANDED_IN}
            for answer in answers[:VERSIONS]:
                if worked.is_own(exercise.number, answer):
                    verdict = {"said": "the answer of the book, markers and all"}
                    continue
                verdict = chapter.best(exercise, answer)
                if verdict.get("solved"):
                    break
            yield _grade(who, exercise.number, verdict)


def _grade(who: str, number: str, verdict: dict[str, Any]) -> Grade:
    said = " ".join(_printable(verdict["said"]).split())
    said = said if len(said) <= LONGEST else f"{said[: LONGEST - 1]}…"
    solved = bool(verdict.get("solved"))
    if said.startswith(SOLVED) and not solved:  # an error that looks like praise
        said = f"✗ {said.lstrip(SOLVED)}"
    return Grade(who, number, solved, said, verdict.get("judged", ""))


class Project:
    """What a chapter needs, read once: answers that change files don't change it.

    Args:
        book: folder of the worked notebooks; they are not part of it.

    """

    def __init__(self, book: Path) -> None:
        sides = {"book": book, "nbvae": ROOT / "nbvae"}
        skip = (".ipynb", ".pyc")
        self.files = {
            Path(name, path.relative_to(folder)): path.read_bytes()
            for name, folder in sides.items()
            for path in folder.rglob("*")
            if path.is_file() and path.suffix not in skip and "/." not in path.as_posix()
        }

    def write(self, folder: Path) -> Path:
        """Write it into a folder; return where the chapter runs."""
        (folder / "book").mkdir()
        for name, content in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder / "book"


class EndedError(Exception):
    """The process of a chapter is gone."""


class Chapter:
    """A worked chapter in a process of its own, which judges answers on the way.

    Args:
        notebook: the worked chapter.
        project: what it needs.
        seconds: that an answer may take.

    """

    def __init__(self, notebook: NotebookNode, project: Project, seconds: float) -> None:
        self.cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.exercises = student.exercises(notebook)
        self.project, self.seconds = project, seconds
        self.done = 0  # cells that were run
        self.apart = True  # how the exercise that was reached is judged
        self.trouble = ""  # why it can't be judged

    def __enter__(self) -> "Chapter":
        """Start the process."""
        self.folder = Path(tempfile.mkdtemp(prefix="nbvae-grade-"))
        environment = {"OMP_NUM_THREADS": "1", "NUMBA_THREADING_LAYER": "workqueue"} | {
            name: value for name, value in os.environ.items() if HANDED_ON.fullmatch(name)
        }
        environment |= {"PYTHONPATH": str(self.folder), "MPLBACKEND": "agg"}
        environment |= {"CUDA_VISIBLE_DEVICES": ""}  # answers run in forks, which can't use a GPU
        environment |= {"IPYTHONDIR": str(self.folder / "ipython")}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "tools" / "judge.py")],
            cwd=self.project.write(self.folder),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()
        fence.remove(self.folder)

    def reach(self, exercise: student.Exercise) -> None:
        """Run the chapter up to an exercise, and see how that can be judged: its own answer is."""
        self._run_to(self.cells.index(exercise.answer))
        for self.apart in (False,) if exercise.number in GRADIENTS else (True, False):
            verdict = self._judge(exercise, [exercise.answer.source])
            self.trouble = "" if verdict.get("solved") else verdict["said"]
            if not self.trouble:
                return
        print(f"Exercise {exercise.number} can't be judged: {self.trouble}", file=sys.stderr)

    def best(self, exercise: student.Exercise, answer: Answer) -> dict[str, Any]:
        """Judge an answer; return the verdict.

        Cells below the check count too, and the student's own cells from further up if a name is
        missing, but only in favour.
        """
        if self.trouble:
            return {"said": "can't be judged here: the worked answer is not solved either"}
        whole = [*answer.before, *answer.after]
        first = verdict = self._judge(exercise, answer.before)
        if answer.after and not verdict.get("solved"):
            verdict = self._judge(exercise, whole)
        if answer.earlier and not verdict.get("solved") and "NameError" in first["said"]:
            verdict = self._judge(exercise, whole, answer.earlier)
        return verdict if verdict.get("solved") else first

    def _judge(
        self, exercise: student.Exercise, cells: Sequence[str], earlier: Sequence[str] = ()
    ) -> dict[str, Any]:
        """Judge some cells; if they end the process, the chapter is run again for the others."""
        answer = self.folder / "answer.json"
        answer.write_text(json.dumps([[*earlier], [*cells]]), encoding="utf-8")
        case = {
            "answer": str(answer),
            "check": exercise.check.source,
            "number": exercise.number,
            "name": student.name_of_answer(exercise),
            "apart": self.apart,
            "seconds": self.seconds,
        }
        try:
            return self._order(case) | {"judged": "apart" if self.apart else "together"}
        except EndedError:
            self._start_again()
            return {"said": "the code ended the process that judges it"}

    def _start_again(self) -> None:
        reached, self.done = self.done, 0
        self.__exit__()
        self.__enter__()
        self._run_to(reached)

    def _run_to(self, place: int) -> None:
        for cell in self.cells[self.done : place]:
            self._order({"run": cell.source})
        self.done = max(self.done, place)

    def _order(self, order: dict[str, Any]) -> Any:
        try:
            print(json.dumps(order), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline() if self.process.stdout else ""
            return json.loads(line)
        except (OSError, ValueError):
            raise EndedError from None


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
        yield _printable(line)


def row(grade: Grade) -> list[str]:
    """Return a grade as it stands in the table: no formula, no character that can't be stored."""
    texts = [grade.student, grade.exercise, str(int(grade.solved)), grade.said, grade.judged]
    return [FORMULA.sub(r"\g<0>'", _printable(text)) for text in texts]


def _printable(text: str) -> str:
    """Return a text without control characters and lone surrogates."""
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else " " for c in text)


def in_order(found: Iterable[Grade]) -> list[Grade]:
    """Sort by student, then by exercise, 2 before 10."""

    def key(grade: Grade) -> tuple:
        numbers = grade.exercise.split(".")
        is_number = all(part.isdecimal() for part in numbers)
        return grade.student, not is_number, [int(n) for n in numbers] if is_number else numbers

    return sorted(found, key=key)


def write(found: Iterable[Grade], path: Path) -> None:
    """Write a table whole or not at all; one that is there already is kept under another name."""
    draft = path.with_name(f".{path.name}.part")
    with draft.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, quoting=csv.QUOTE_ALL)
        table.writerow(Grade._fields)
        table.writerows(map(row, found))
    if path.exists() and path.read_bytes() != draft.read_bytes():
        names = (path.with_name(f"{path.stem}-{n}{path.suffix}") for n in range(1, 10**6))
        path.rename(next(name for name in names if not name.exists()))
    os.replace(draft, path)


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Check the answers of a class.")
    parser.add_argument("handed_in", type=Path, help="what the class handed in, unpacked")
    parser.add_argument("--out", type=Path, default=Path("grades.csv"))
    options = parser.parse_args(arguments)
    if not options.handed_in.is_dir():
        print(f"There is no folder {options.handed_in}", file=sys.stderr)
        return 1
    if options.out.is_dir() or not os.access(options.out.parent, os.W_OK):
        print(f"No table can be written to {options.out}; name another with --out", file=sys.stderr)
        return 1
    for lack in fence.missing():
        print(f"On this machine {lack}", file=sys.stderr)
    found: list[Grade] = []
    trouble: BaseException | None = None
    try:
        for grade in grades(options.handed_in):
            found.append(grade)
    except (Exception, KeyboardInterrupt) as error:
        trouble = error
    if found:
        found = in_order(found)
        write(found, options.out)
        print(*summary(found), f"All of it is in {options.out}", sep="\n")
    elif not trouble:
        print(f"{options.handed_in} holds no notebook", file=sys.stderr)
    if isinstance(trouble, Exception):
        raise trouble
    if trouble:
        print("Interrupted; the table holds what was judged until now", file=sys.stderr)
    return int(not found)


if __name__ == "__main__":
    sys.exit(main())
