"""A plugin of pytest: while nbval runs a worked chapter, see it as a student does.

Just before the first answer, in the same kernel, the rest of the student edition runs, in which no
exercise is solved. Each check must say so, and every other cell must give what is stored. A cell
that needs a solution from above fails here. Then names and random numbers are put back, and the
worked answers run. So one run of a chapter tests both editions.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import student
from nbformat import v4
from nbval.plugin import IPyNbCell, IPyNbFile
from notebooks import code_cells

NAME = "as a student finds it"
TIMEOUT = 60  # seconds, for putting names back
KEEP = """
_kept = {"names": dict(globals())}
import random, sys
_kept["random"] = random.getstate()
if "numpy" in sys.modules:
    _kept["numpy"] = sys.modules["numpy"].random.get_state()
if "torch" in sys.modules:
    _kept["torch"] = sys.modules["torch"].random.get_rng_state()
"""
PUT_BACK = """
def _put_back(names, kept):
    import random, sys
    random.setstate(kept["random"])
    if "numpy" in kept:
        sys.modules["numpy"].random.set_state(kept["numpy"])
    if "torch" in kept:
        sys.modules["torch"].random.set_rng_state(kept["torch"])
    names.clear()
    names.update(kept["names"])

_put_back(globals(), _kept)
"""


class UnsolvedError(Exception):
    """What a student would meet who has not solved an exercise yet."""


class Unsolved(pytest.Item):
    """Runs a chapter's exercises and what follows them without the solutions."""

    def runtest(self) -> None:
        """Run the cells in the chapter's kernel, and leave no trace there."""
        chapter: Any = self.parent  # nbval's file
        _execute(chapter, KEEP)
        wrong = list(_wrong(chapter))
        if chapter.kernel.is_alive():
            _execute(chapter, PUT_BACK)
        if wrong:
            raise UnsolvedError("\n".join(wrong))

    def repr_failure(self, excinfo: pytest.ExceptionInfo, style: Any = None) -> Any:
        """Say which cells, without the lines of this file."""
        if isinstance(excinfo.value, UnsolvedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple:
        """Name the chapter as nbval does."""
        return self.path, 0, f"{self.path.name}::{self.name}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the student's run before the first answer of each worked chapter."""
    answers = {id(cell) for file in _files(items) for cell in _first_answer(file)}
    for place in reversed(range(len(items))):
        item = items[place]
        if isinstance(item, IPyNbCell) and id(item.cell) in answers:
            items.insert(place, Unsolved.from_parent(item.parent, name=NAME))


def _files(items: list[pytest.Item]) -> set[IPyNbFile]:
    return {item.parent for item in items if isinstance(item, IPyNbCell)}


def _first_answer(file: IPyNbFile) -> list:
    """Return the cell of the first answer; none if the notebook is no worked chapter."""
    try:
        exercises = student.exercises(file.nb)
        student.student_edition(file.nb, file.path.name)
    except student.MarkerError:  # a student's notebook; in book/ it breaks a rule of the chapters
        return []
    return [exercise.answer for exercise in exercises[:1]]


def _wrong(file: IPyNbFile) -> Iterator[str]:
    """Run the student edition from the first answer on; yield nbval's words on what goes wrong."""
    items = list(file.collect())  # afresh: what is done to these must not reach the worked cells
    exercises = student.exercises(file.nb)
    edition = code_cells(student.student_edition(file.nb, file.path.name))
    numbers = {id(exercise.check): exercise.number for exercise in exercises}
    first = next(i for i, item in enumerate(items) if item.cell is exercises[0].answer)
    for item, cell in list(zip(items, edition, strict=True))[first:]:
        if number := numbers.get(id(item.cell)):
            line = f"✗ Exercise {number}: not solved yet.\n"
            cell.outputs = [v4.new_output("stream", text=line)]
        item.cell = cell
        try:
            item.runtest()
        except Exception as error:
            report = item.repr_failure(pytest.ExceptionInfo.from_exception(error))
            yield f"With no exercise solved, cell {cell.get('id', '?')}:\n{report}"


def _execute(file: IPyNbFile, source: str) -> None:
    """Run code that prints nothing."""
    message = file.kernel.execute_cell_input(source, allow_stdin=False)
    file.kernel.await_reply(message, TIMEOUT)
    file.kernel.await_idle(message, TIMEOUT)
