"""Some hundred students, clumsy and hostile: each exercise gets what it deserves."""

import contextlib
import tempfile
import time
from pathlib import Path

import fence
import grade
import handed
import pytest
import sample
import student
from nbformat import v4
from notebooks import read, write

pytestmark = pytest.mark.slow

SECONDS = 3  # more than an answer takes, on a busy machine
SHORT = 1  # for an answer that never ends


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    write(sample.chapter(), folder / "01_sample.ipynb")
    return folder


def notebook(book, cells):
    """A student's notebook: these cells for 1.2, the right answer to the others."""
    edition = student.student_edition(read(book / "01_sample.ipynb"), "01_sample")
    answers = {e.answer.id for e in student.exercises(read(book / "01_sample.ipynb"))}
    made = []
    for cell in edition.cells:
        if cell.id not in answers:
            made.append(cell)
        elif made[-1].source.startswith("### Exercise 1.2"):
            made += [v4.new_code_cell(source) for source in cells]
        else:
            made.append(v4.new_code_cell(handed.RIGHT))
    edition.cells = made
    return edition


def part(notebook, first, beyond):
    """Leave some exercises of a student's notebook."""
    start, end = (
        next(i for i, c in enumerate(notebook.cells) if c.source.startswith(f"### Exercise {n}"))
        for n in (first, beyond)
    )
    notebook.cells = notebook.cells[start:end]
    return notebook


def alone(notebook):
    return part(notebook, "1.2", "1.3")


def with_the_next(notebook):
    """1.2, and 1.3, which is judged after all answers to 1.2."""
    return part(notebook, "1.2", "1.4")


def graded(book, where, answers, seconds=SECONDS, change=lambda notebook: notebook):
    """Grades of a class in which each student's 1.2 is one of these answers, by both."""
    for who, cells in answers.items():
        (where / who).mkdir()
        write(change(notebook(book, cells)), where / who / "01_sample.ipynb")
    return {(g.student, g.exercise): g for g in grade.grades(where, book, seconds)}


class Impatient(grade.Chapter):
    """Waits less long for what never ends."""

    def best(self, exercise, answer):
        patience = SHORT if answer.before in handed.ENDLESS else SECONDS
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self, "seconds", patience)
            return super().best(exercise, answer)


def graded_with_others(book, where, answers, monkeypatch):
    """Grades of a class, and what was wrong with those that are right.

    These are 1.3 of each student and all of zoe's, who comes after the others.
    """
    monkeypatch.setattr(grade, "Chapter", Impatient)
    (where / "zoe").mkdir()
    write(notebook(book, [handed.RIGHT]), where / "zoe" / "01_sample.ipynb")
    found = graded(book, where, answers, change=with_the_next)
    assert max(found)[0] == "zoe"
    right = [(who, "1.3") for who in answers] + [("zoe", f"1.{k}") for k in range(1, 5)]
    return found, {one: found[one].said for one in right if not found[one].solved}


def test_a_right_answer_is_not_failed(book, tmp_path):
    found = graded(book, tmp_path, handed.CLUMSY, seconds=60, change=alone)
    wrong = {who: found[who, "1.2"].said for who in handed.CLUMSY if not found[who, "1.2"].solved}
    assert wrong == {}


def test_what_went_wrong_is_said_and_stays_where_it_is(book, tmp_path, monkeypatch):
    answers = {who: cells for who, (cells, _) in handed.WRONG.items()}
    found, others = graded_with_others(book, tmp_path, answers, monkeypatch)
    said = {who: found[who, "1.2"].said for who in answers}
    assert {
        who: said[who] for who, (_, word) in handed.WRONG.items() if word not in said[who]
    } == {}
    assert not any(found[who, "1.2"].solved for who in answers)
    assert max(map(len, said.values())) <= grade.LONGEST
    assert others == {}


@pytest.mark.skipif(bool(fence.missing()), reason="this machine has no fence")
def test_no_answer_talks_itself_into_solved(book, tmp_path, monkeypatch):
    found, others = graded_with_others(book, tmp_path, handed.HOSTILE, monkeypatch)
    assert {w: found[w, "1.2"] for w in handed.HOSTILE if found[w, "1.2"].solved} == {}
    assert not any(found[who, "1.2"].said.startswith("✓") for who in handed.HOSTILE)
    assert others == {}


@pytest.mark.skipif(bool(fence.missing()), reason="this machine has no fence")
def test_an_answer_reads_and_changes_nothing_of_others(book, tmp_path, monkeypatch):
    """Neither another's answer, nor the worked ones, nor what was left of the last answer."""
    where = tmp_path / "class"
    where.mkdir()
    other = where / "ada" / "01_sample.ipynb"
    places = [str(other), str(book / "01_sample.ipynb"), str(grade.ROOT / "README.md")]
    tries = {f"reads {n}": f"open({p!r}).read()" for n, p in enumerate(places)}
    tries |= {f"writes {n}": f"open({p!r}, 'a').write('x')" for n, p in enumerate(places)}
    tries["lists"] = f"import os\nos.listdir({str(where)!r})"
    tries["removes"] = f"import os\nos.remove({str(other)!r})"
    tries["left"] = "open('left', 'x')"
    absent = "import os\nif not {}: raise OSError"
    tries["environment"] = absent.format("'A_TOKEN' in os.environ")
    tries["environment at the start"] = absent.format(
        "b'A_TOKEN' in open('/proc/self/environ', 'rb').read()"
    )
    tries["processes"] = absent.format("sum(name.isdecimal() for name in os.listdir('/proc')) > 5")
    monkeypatch.setenv("A_TOKEN", "of the lecturer")
    tries["looks up"] = "import os\nos.listdir('..')"
    made = {
        who: [
            f"def double(x):\n    try:\n        {line.replace(chr(10), chr(10) + ' ' * 8)}\n"
            "    except OSError:\n        return 2 * x\n    return 'it could'"
        ]
        for who, line in tries.items()
    }
    made["left"] = made["left too"] = [f"open('left', 'x')\n{handed.RIGHT}"]
    made["shared"] = made["shared too"] = [f"open('/dev/shm/left', 'x')\n{handed.RIGHT}"]
    before = other.parent
    before.mkdir()
    write(notebook(book, [handed.RIGHT]), other)
    text = other.read_bytes()
    found = graded(book, where, made, change=alone)
    assert {who: found[who, "1.2"].said for who in made if not found[who, "1.2"].solved} == {}
    assert other.read_bytes() == text


def fake(line, *, at_the_call=False):
    """An answer to 5.2 that is wrong, and a line that would make it right."""
    lines = f"from nbvae.teaching.exercises import _check, CHECKS\n{line}"
    wrong = "def draw(mean, logvar, noise):\n    "
    return [f"{wrong}{line}\n    return mean" if at_the_call else f"{lines}\n{wrong}return mean"]


PRAISE = "print('✓ Exercise 5.2: yes.')"
TOGETHER = {
    "another name": fake(f"class exercises:\n    def check(*a): {PRAISE}"),
    "code of the check": fake(f"_check.check.__code__ = (lambda *a, seed=0: {PRAISE}).__code__"),
    "code of what it calls": fake("_check._complaint.__code__ = (lambda *a: None).__code__"),
    "code of the diagnosis": fake("CHECKS['5.2'].diagnose.__code__ = (lambda a: None).__code__"),
    "a method": fake("_check.Check.diagnose = property(lambda self: lambda *a: None)"),
    "at the call": fake(
        "import nbvae.teaching.exercises._check as c; "
        "c._complaint.__code__ = (lambda *a: None).__code__; raise ValueError",
        at_the_call=True,
    ),
    "print": fake(f"import builtins; old = print; builtins.print = lambda *a: old({PRAISE[6:-1]})"),
    "a verdict": fake(
        'import os\nfor fd in range(3, 64):\n    try: os.write(fd, b\'{"said": "yes", '
        '"solved": true}\')\n    except OSError: pass\nos._exit(0)'
    ),
    "the comparison": fake("import torch; torch.Tensor.__abs__ = lambda self: self * 0"),
}


def test_what_an_answer_changes_of_its_check_is_found(tmp_path):
    """Where both share a process: the check of 5.2 asks for a gradient."""
    chapter = sample.chapter(5, extra=(v4.new_code_cell("from nbvae.teaching import exercises"),))
    task = student.exercises(chapter)[1]
    task.answer.source = (
        "def draw(mean, logvar, noise):\n    ### BEGIN SOLUTION\n"
        "    return mean + (logvar / 2).exp() * noise\n    ### END SOLUTION"
    )
    task.check.source = 'exercises.check("5.2", draw)'
    (tmp_path / "book").mkdir()
    write(chapter, tmp_path / "book" / "05_sample.ipynb")
    right = [task.answer.source.replace("### ", "# of mine ")]
    for who, cells in (TOGETHER | {"right": ["exercises = 7", *right]}).items():
        answer = [v4.new_markdown_cell(task.task.source), *map(v4.new_code_cell, cells)]
        (tmp_path / "class" / who).mkdir(parents=True)
        write(v4.new_notebook(cells=answer), tmp_path / "class" / who / "05_sample.ipynb")
    found = {
        g.student: g
        for g in grade.grades(tmp_path / "class", tmp_path / "book", seconds=60)
        if g.exercise == "5.2"
    }
    assert {g.judged for g in found.values()} == {"together"}
    assert {who: g.said for who, g in found.items() if g.solved} == {
        "right": "✓ Exercise 5.2: a draw from q(z | x), and gradients reach both parameters."
    }


def test_loops_cost_their_time_and_no_more(book, tmp_path):
    start = time.monotonic()
    graded(book, tmp_path, {"ada": ["while True: pass"]}, seconds=SHORT, change=alone)
    assert time.monotonic() - start < SHORT + 15


def test_nothing_is_left_running(book, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "here"))
    for folder in ("here", "class"):
        (tmp_path / folder).mkdir()
    lives_on = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(500)"
    graded(book, tmp_path / "class", {"ada": [lives_on]}, change=alone)
    assert list(working_below(tmp_path / "here")) == []
    assert list((tmp_path / "here").iterdir()) == []


def working_below(folder):
    """The processes that were started to work in a folder: their environment names it.

    Where they are shows nothing: an answer has mounts of its own.
    """
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended
            if str(folder).encode() in (place / "environ").read_bytes():
                yield place.name
