"""What a class handed in: read once, before any of it runs, whatever a folder holds.

A folder comes as it was unpacked: a folder for each student (`ada/05_the_draft.ipynb`), as Moodle
and GitHub Classroom give it, or one folder of files whose names begin with the student's, as Canvas
and Moodle without folders give it. An exercise is found by the number in its task's heading, or by
the identifiers of its cells, so a notebook may have any name.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import student
from nbformat import NotebookNode

LARGEST = 100 * 2**20  # bytes of a notebook
MOST = 5_000  # cells of a notebook; a chapter has less than 200
DEEPEST = 30  # folders in folders
VERSIONS = 3  # of a student's notebook that are looked at, the newest first
HEADING = re.compile(r"^#{1,6}[ \t]+Exercise[ \t]+(\d+\.\d+)\b", re.MULTILINE | re.IGNORECASE)
MOODLE = re.compile(r"(.+?)_(\d+)_assignsubmission_")
CANVAS = re.compile(r"(.+?)(?:_LATE)?_(\d{2,})_\d{2,}_")
COPY = re.compile(r"copy( \(?\d+\)?)?( of)?|kopie( von)?|copie de|copia de", re.IGNORECASE)
LEFT_BEHIND = ("__MACOSX", "__pycache__", "node_modules", "site-packages")


class Cell(NamedTuple):
    """A cell, as far as it matters here."""

    id: str | None
    is_code: bool
    source: str


class Answer(NamedTuple):
    """What stands below a task, by cells."""

    before: list[str]  # up to the check
    after: list[str]  # from the check to the next task
    earlier: list[str]  # the student's own cells further up in the notebook


class Notebook(NamedTuple):
    """A notebook that could be read."""

    student: str
    path: Path
    modified: float
    answers: dict[str, list[Answer]]  # by the number of the exercise


class Unread(NamedTuple):
    """A file that says nothing, and why."""

    student: str
    name: str
    said: str


class Worked:
    """What a notebook is compared with: all exercises of the book.

    Args:
        chapters: the worked notebooks, by their paths.

    """

    def __init__(self, chapters: dict[Path, NotebookNode]) -> None:
        self.exercises = {e.number: e for nb in chapters.values() for e in student.exercises(nb)}
        self.chapter = {
            e.number: path for path, nb in chapters.items() for e in student.exercises(nb)
        }
        self.names = {_plain(path.stem): path for path in chapters}
        self.by_id = {c.id: e.number for e in self.exercises.values() for c in e[1:]}
        self.checks = {_text(e.check.source) for e in self.exercises.values()}
        cells = [cell for nb in chapters.values() for cell in nb.cells]
        self.codes = {_text(cell.source) for cell in cells if cell.cell_type == "code"}
        tasks = {e.task.id for e in self.exercises.values()}
        self.others = {
            _text(cell.source)
            for cell in cells
            if cell.cell_type == "markdown" and cell.id not in tasks
        }

    def is_own(self, number: str, answer: Answer) -> bool:
        """Whether an answer is the book's, markers and all."""
        return self.exercises[number].answer.source in answer.before

    def named_like(self, path: Path) -> Path | None:
        """Return the chapter whose name this file's name contains."""
        return next((c for name, c in self.names.items() if name in _plain(path.stem)), None)


def read_all(folder: Path, worked: Worked) -> tuple[list[Notebook], list[Unread]]:
    """Read what a class handed in.

    Args:
        folder: as it was unpacked.
        worked: the book's exercises.

    Returns:
        The notebooks, the newest first; and what can't be read, or holds nothing.

    """
    folder = _top(folder)
    notebooks, unread = [], []
    names = Names(folder, worked)
    for path in _files(folder):
        who = names.of(path)
        try:
            notebook = read(who, path, folder, worked)
        except Exception as error:  # whatever can be wrong with a file
            unread.append(Unread(who, path.name, f"cannot be read: {_reason(error)}"))
            continue
        if notebook.answers or worked.named_like(path):
            notebooks.append(notebook)
        else:
            unread.append(Unread(who, path.name, "no chapter has this name"))
    known = {n.student for n in notebooks} | {u.student for u in unread}
    unread += _empty_handed(folder, names, known)
    return sorted(notebooks, key=lambda n: (-n.modified, str(n.path))), unread


def read(who: str, path: Path, folder: Path, worked: Worked) -> Notebook:
    """Read a notebook.

    Raises:
        Exception: of many kinds; it is no notebook.

    """
    own = folder / path.relative_to(folder).parts[0]
    if path.is_symlink() and not path.resolve(strict=True).is_relative_to(own.resolve()):
        raise ValueError("a link to a file outside the student's folder")
    if not path.is_file():
        raise ValueError("no file")
    status = path.stat()
    if status.st_size > LARGEST:
        raise ValueError(f"larger than {LARGEST // 2**20} MB")
    cells = list(_cells(json.loads(path.read_bytes())))
    if len(cells) > MOST:
        raise ValueError(f"more than {MOST} cells")
    return Notebook(who, path, status.st_mtime, answers_in(cells, worked))


def answers_in(cells: list[Cell], worked: Worked) -> dict[str, list[Answer]]:
    """Return what stands below each task; more than one answer if a task comes twice."""
    found: dict[str, list[Answer]] = {}
    current: Answer | None = None
    number, checked = None, False
    earlier: list[str] = []
    for cell in cells:
        here = _number(cell, worked)
        if here and (here != number or not cell.is_code):
            number, checked = here, False
            current = Answer([], [], list(earlier))
            if len(found.setdefault(here, [])) < VERSIONS:
                found[here].append(current)
        if not cell.is_code:
            if not here and cell.source and cell.source in worked.others:
                number, current = None, None  # the next section of the book
            continue
        is_check = cell.source in worked.checks
        if current and not is_check:
            (current.after if checked else current.before).append(cell.source)
        checked = checked or is_check or f'check("{number}"' in cell.source
        if cell.source not in worked.codes:
            earlier.append(cell.source)
    return found


class Names:
    """Whose is what, in the folder of a class.

    Two students may have the same name, and where names are hidden all are called "Participant":
    the number that Moodle and Canvas give each tells them apart.

    Args:
        folder: of the class.
        worked: the book's exercises.

    """

    def __init__(self, folder: Path, worked: Worked) -> None:
        self.folder, self.worked = folder, worked
        matches = [match for path in folder.iterdir() if (match := _numbered(path))]
        numbers: dict[str, set[str]] = {}
        for match in matches:
            numbers.setdefault(match[1], set()).add(match[2])
        self.shared = {name for name, of in numbers.items() if len(of) > 1}

    def of(self, path: Path) -> str:
        """Return whose a file or a folder is."""
        first = self.folder / path.relative_to(self.folder).parts[0]
        if match := _numbered(first):
            return f"{match[1]} {match[2]}" if match[1] in self.shared else match[1]
        if first != path or path.is_dir():
            return first.name
        chapter = self.worked.named_like(path)
        rest = path.stem
        if chapter:
            words = re.escape(chapter.stem).replace("_", "[_ -]")
            rest = re.sub(rf"{words}.*", "", rest, flags=re.IGNORECASE)
        rest = rest.strip(" _-.")
        return path.name if not rest or COPY.fullmatch(rest) else rest


def _numbered(path: Path) -> re.Match | None:
    """Return name and number in what Moodle and Canvas call a file or a folder, if it's theirs."""
    return MOODLE.match(path.name) or (CANVAS.match(path.name) if not path.is_dir() else None)


def _number(cell: Cell, worked: Worked) -> str | None:
    """Return the number of the exercise to which a cell leads, None if to none."""
    if not cell.is_code and (match := HEADING.search(cell.source)):
        return match[1] if match[1] in worked.exercises else None
    return worked.by_id.get(cell.id)


def _cells(notebook: Any) -> Iterator[Cell]:
    """Yield the cells of a notebook of any format, without asking more of it than that."""
    parts = notebook["cells"] if "cells" in notebook else _of_sheets(notebook["worksheets"])
    for cell in parts:
        kind = cell.get("cell_type")
        source = cell.get("source", cell.get("input", ""))
        text = _text("".join(source) if isinstance(source, list) else source or "")
        if kind == "heading":
            text = "#" * int(cell.get("level", 1)) + f" {text}"
        if kind in ("markdown", "heading", "code"):
            yield Cell(cell.get("id"), kind == "code", text)


def _of_sheets(sheets: Any) -> list[Any]:
    return [cell for sheet in sheets for cell in sheet["cells"]]


def _text(source: str) -> str:
    """Return source as all editors would write it."""
    return "\n".join(line.rstrip() for line in source.rstrip().splitlines())


def _plain(name: str) -> str:
    return re.sub(r"[\s\-]+", "_", name.lower())


def _top(folder: Path) -> Path:
    """Go into the only folder of an archive, if the students' are in there."""
    inside = [p for p in folder.iterdir() if not (p.name.startswith(".") or p.name in LEFT_BEHIND)]
    if len(inside) == 1 and inside[0].is_dir() and not inside[0].is_symlink():
        is_of_class = inside[0].name.endswith("-submissions") or any(
            map(_numbered, inside[0].iterdir())
        )
        return _top(inside[0]) if is_of_class else folder
    return folder


def _files(folder: Path) -> Iterator[Path]:
    """Yield whatever is called a notebook, in order."""
    return iter(sorted(p for p in _all_below(folder) if p.name.lower().endswith(".ipynb")))


def _all_below(folder: Path) -> Iterator[Path]:
    """Yield what a folder holds, without what systems leave behind; no links are followed."""
    for place, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in LEFT_BEHIND]
        yield from (Path(place, f) for f in [*files, *folders] if not f.startswith("."))
        if len(Path(place).parts) - len(folder.parts) >= DEEPEST:
            folders[:] = []


def _empty_handed(folder: Path, names: Names, known: set[str]) -> Iterator[Unread]:
    """Yield who handed in no notebook; an archive may hold some, and is not unpacked here."""
    for path in sorted(folder.iterdir()):
        who = names.of(path)
        if who in known or path.name.startswith(".") or path.name in LEFT_BEHIND:
            continue
        if any(map(_is_packed, [path, *_all_below(path)])):
            yield Unread(who, path.name, "an archive: unpack it")
        elif path.is_dir():
            readable = os.access(path, os.R_OK | os.X_OK)
            yield Unread(who, path.name, "holds no notebook" if readable else "cannot be read")


def _is_packed(path: Path) -> bool:
    return path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


def _reason(error: Exception) -> str:
    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
