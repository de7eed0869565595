"""The exercises: what the student edition leaves out, and the loop from unsolved to solved."""

import random
import re

import pytest
import sample
import student
import unsolved
from nbformat import v4
from nbval_runs import failed, failures, output
from notebooks import BOOK, chapters, code_cells, dumps, read, tags, write

SOLUTION = "return x + x"


@pytest.fixture
def book(tmp_path):
    """A folder with one worked chapter and a file that it links to."""
    folder = tmp_path / "book"
    folder.mkdir()
    (folder / "notes.md").write_text("# Notes\n", encoding="utf-8")
    write(sample.chapter(), folder / "01_sample.ipynb")
    return folder


def solve(path, number):
    """Write the right answer into one exercise of a student notebook."""
    notebook = read(path)
    heading = f"### Exercise {number} "
    task = next(i for i, c in enumerate(notebook.cells) if c.source.startswith(heading))
    answer = notebook.cells[task + 1]
    answer.source = answer.source.replace(student.STUB, SOLUTION)
    answer.outputs, answer.execution_count = [], 99
    write(notebook, path)


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_no_solution_is_left_in_the_student_edition(path):
    worked = read(path)
    edition = student.student_edition(worked, path.name)
    for exercise in student.exercises(worked):
        cell = next(c for c in edition.cells if c.id == exercise.answer.id)
        assert cell.source == student.stub(exercise.answer.source)
        assert student.STUB in cell.source
        assert "SOLUTION" not in cell.source
        assert cell.outputs == []
        assert student.ANSWER_TAG not in tags(cell)


def test_all_other_cells_stay_as_they_are():
    worked = sample.chapter()
    edition = student.student_edition(worked, "01_sample.ipynb")
    answers = {exercise.answer.id for exercise in student.exercises(worked)}
    assert len(answers) == 4
    assert [c.id for c in edition.cells] == [c.id for c in worked.cells]
    for before, after in zip(worked.cells, edition.cells, strict=True):
        assert (before == after) == (before.id not in answers)


def test_stub_takes_the_indentation_of_its_marker():
    source = (
        "def f(x):\n    ### BEGIN SOLUTION\n    y = x\n    return y\n    ### END SOLUTION\n"
        "a = ...\n### BEGIN SOLUTION\na = f(1)\n### END SOLUTION\nb = 2"
    )
    stub = student.STUB
    assert student.stub(source) == f"def f(x):\n    {stub}\na = ...\n{stub}\nb = 2"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1", "no solution is marked"),
        ("### BEGIN SOLUTION\nx = 1", "END SOLUTION` is missing"),
        ("x = 1\n### END SOLUTION", "END SOLUTION` where the other"),
        ("### BEGIN SOLUTION\n### BEGIN SOLUTION\n### END SOLUTION", "BEGIN SOLUTION` where"),
    ],
)
def test_markers_that_do_not_pair_up_are_refused_by_cell(source, complaint):
    notebook = sample.chapter()
    answer = student.exercises(notebook)[1].answer
    answer.source = source
    with pytest.raises(student.MarkerError, match=complaint) as error:
        student.student_edition(notebook, "01_sample.ipynb")
    assert "01_sample.ipynb" in str(error.value)
    assert answer.id in str(error.value)


def test_a_solution_outside_an_exercise_is_refused():
    notebook = sample.chapter()
    code_cells(notebook)[0].source += "\n### BEGIN SOLUTION\n### END SOLUTION"
    with pytest.raises(student.MarkerError, match="outside an exercise"):
        student.student_edition(notebook, "01_sample.ipynb")


def test_malformed_book_writes_nothing(book, tmp_path, capsys):
    notebook = sample.chapter(2)
    notebook.cells.pop()
    notebook.cells = [c for c in notebook.cells if student.CHECK_TAG not in tags(c)]
    write(notebook, book / "02_broken.ipynb")
    assert student.main([str(book), str(tmp_path / "out")]) == 1
    assert "02_broken.ipynb: Exercise 2.1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_work_of_a_student_is_never_overwritten(book, tmp_path, capsys):
    out = tmp_path / "student"
    arguments = [str(book), str(out)]
    path = out / "01_sample.ipynb"
    assert student.main(arguments) == 0
    assert (out / "notes.md").exists()
    assert student.main(arguments) == 0, "an untouched notebook may be replaced"

    solve(path, "1.2")
    work = path.read_text(encoding="utf-8")
    assert student.main(arguments) == 1
    assert "--force" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == work

    assert student.main([*arguments, "--force"]) == 0
    assert SOLUTION not in path.read_text(encoding="utf-8")


def test_pages_that_were_edited_are_kept_too(book, tmp_path, capsys):
    out = tmp_path / "student"
    student.generate(book, out)
    (book / "notes.md").write_text("# Newer notes\n", encoding="utf-8")
    assert student.generate(book, out) == []
    assert (out / "notes.md").read_text(encoding="utf-8") == "# Newer notes\n"

    (out / "notes.md").write_text("# My notes\n", encoding="utf-8")
    assert student.main([str(book), str(out)]) == 1
    assert "notes.md" in capsys.readouterr().err
    assert (out / "notes.md").read_text(encoding="utf-8") == "# My notes\n"
    assert student.generate(book, out, force=True) == []
    assert (out / "notes.md").read_text(encoding="utf-8") == "# Newer notes\n"


def test_a_link_is_not_written_through(book, tmp_path, capsys):
    out, elsewhere = tmp_path / "student", tmp_path / "elsewhere.md"
    student.generate(book, out)
    (out / "notes.md").unlink()
    (out / "notes.md").symlink_to(elsewhere)
    assert student.main([str(book), str(out)]) == 1
    assert "notes.md" in capsys.readouterr().err
    assert student.main([str(book), str(out), "--force"]) == 0
    assert not elsewhere.exists()
    assert (out / "notes.md").read_text(encoding="utf-8") == "# Notes\n"


@pytest.mark.parametrize("record", ["", "{", "[]", "[1]", "7", "\udc80"])
def test_a_damaged_record_ends_nothing_and_overwrites_nothing(record, book, tmp_path):
    out = tmp_path / "student"
    student.generate(book, out)
    (out / student.RECORD).write_bytes(record.encode("utf-8", "surrogateescape"))
    assert student.generate(book, out) == []
    (out / student.RECORD).write_bytes(record.encode("utf-8", "surrogateescape"))
    (out / "notes.md").write_text("# Mine\n", encoding="utf-8")
    assert student.generate(book, out) == [out / "notes.md"]


def test_a_file_in_place_of_the_folder_is_named(book, tmp_path, capsys):
    (tmp_path / "student").write_text("mine")
    assert student.main([str(book), str(tmp_path / "student")]) == 1
    assert "student" in capsys.readouterr().err
    assert (tmp_path / "student").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("5", [5]),
        ("05", [5]),
        ("5-7", [5, 6, 7]),
        ("5,7", [5, 7]),
        ("5,", [5]),
        ("1-2,5", [1, 2, 5]),
    ],
)
def test_chapters_are_named_as_people_name_them(text, numbers):
    assert student.numbers_in(text) == numbers


@pytest.mark.parametrize("text", ["all", "", "-5", "5-", "5;6", "05_the_draft", "five", "²"])
def test_what_names_no_chapter_is_told_how(text, book, tmp_path, capsys):
    with pytest.raises(SystemExit):
        student.main([str(book), str(tmp_path / "out"), f"--chapter={text}"])
    assert "say 5, 5-7 or 5,7" in capsys.readouterr().err


def test_a_student_notebook_that_cannot_be_read_is_kept(book, tmp_path):
    for broken in ("{", "[]", '{"cells": [{}]}'):
        (tmp_path / "01_sample.ipynb").write_text(broken, encoding="utf-8")
        assert student.generate(book, tmp_path) == [tmp_path / "01_sample.ipynb"]
        assert (tmp_path / "01_sample.ipynb").read_text(encoding="utf-8") == broken


def test_one_chapter_alone(book, tmp_path, capsys):
    write(sample.chapter(2), book / "02_sample.ipynb")
    out = tmp_path / "student"
    assert student.main([str(book), str(out), "--chapter", "2"]) == 0
    assert [path.name for path in out.glob("*.ipynb")] == ["02_sample.ipynb"]
    assert student.main([str(book), str(out), "--chapter", "7"]) == 1
    assert "no chapter 7" in capsys.readouterr().err


def test_students_do_not_get_the_page_for_lecturers():
    """It tells what chapter 7 lets them find out."""
    found = student.pages(BOOK)
    assert {"intro.md", "glossary.md", "assets/draft.md"} <= found.keys()
    assert [name for name, text in found.items() if b"for_lecturers" in text] == []
    assert "for_lecturers.md" not in found
    assert b"label is wrong" not in b"".join(found.values())


def test_running_a_student_notebook_is_not_editing_it(book, tmp_path):
    student.generate(book, tmp_path)
    path = tmp_path / "01_sample.ipynb"
    notebook = read(path)
    code_cells(notebook)[-1].outputs = []
    write(notebook, path)
    assert not student.edited(path)


@pytest.mark.slow
def test_nbval_fails_exactly_at_what_is_unsolved(book, tmp_path):
    worked = book / "01_sample.ipynb"
    assert failed(worked) == set()

    student.generate(book, tmp_path)
    path = tmp_path / worked.name
    checks = {e.number: e.check.id for e in student.exercises(read(worked))}
    assert failed(path) == set(checks.values())

    solve(path, "1.2")
    assert failed(path) == set(checks.values()) - {checks["1.2"]}

    for number in checks:
        solve(path, number)
    assert failed(path) == set()


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "two"])
def test_nbval_ends_with_how_many_are_solved(book, tmp_path, options):
    student.generate(book, tmp_path)
    solve(tmp_path / "01_sample.ipynb", "1.2")
    *_, heading, chapter, total, _ = output(tmp_path / "01_sample.ipynb", *options).splitlines()
    assert "exercises solved" in heading
    assert chapter == "01_sample.ipynb  1 of 4"
    assert total == "all  1 of 4"


@pytest.mark.slow
def test_a_solution_that_is_needed_elsewhere_fails_in_the_worked_chapter(book):
    """Else who leaves out an exercise would meet an error in another, or in what follows."""
    notebook = sample.chapter()
    second = student.exercises(notebook)[1].check
    second.source += "\nassert double(1) == 2"
    last = v4.new_code_cell("print(double(2))", execution_count=12, id="last")
    last.outputs = [v4.new_output("stream", text="4\n")]
    notebook.cells.append(last)
    write(notebook, book / "01_sample.ipynb")

    [(name, report)] = failures(book / "01_sample.ipynb").items()
    assert name == unsolved.NAME
    assert re.findall(r"no exercise solved, cell (.+):", report) == [second.id, "last"]
    assert "assert double(1) == 2" in report
    assert "'4\\n' == 'None\\n'" in report


@pytest.mark.slow
def test_the_worked_chapter_does_not_notice_that_it_was_run_as_a_student_finds_it(book):
    """Else names or random numbers would be left from there, and outputs depend on them."""
    draw = v4.new_code_cell("import random\n\nrandom.seed(1)")
    notebook = sample.chapter(extra=(draw,))
    answer = student.exercises(notebook)[0].answer
    answer.source += '\nprint("left" in globals())'
    answer.outputs = [v4.new_output("stream", text="False\n")]
    last = v4.new_code_cell("left = random.random()\nprint(left)", execution_count=13, id="last")
    last.outputs = [v4.new_output("stream", text=f"{random.Random(1).random()}\n")]
    notebook.cells.append(last)
    write(notebook, book / "01_sample.ipynb")
    assert failures(book / "01_sample.ipynb") == {}


@pytest.mark.slow
def test_a_changed_number_fails_under_nbval(tmp_path):
    cells = [v4.new_code_cell("print(6 * 7)") for _ in range(2)]
    notebook = sample.finish([v4.new_markdown_cell("# 1. A number"), *cells])
    for cell, printed in zip(code_cells(notebook), ("42\n", "43\n"), strict=True):
        cell.outputs = [v4.new_output("stream", text=printed)]
    path = tmp_path / "number.ipynb"
    path.write_text(dumps(notebook), encoding="utf-8")
    assert failed(path) == {"01-003"}


@pytest.mark.slow
def test_on_two_cores_the_cells_of_a_notebook_stay_together(tmp_path):
    """By `pytest -n 2` alone, every second cell would miss what the cell before it made."""
    path = tmp_path / "01_number.ipynb"
    cells = [v4.new_code_cell("n = 1")] + [v4.new_code_cell("n += 1") for _ in range(7)]
    cells.append(v4.new_code_cell("assert n == 8"))
    write(v4.new_notebook(cells=cells), path)
    assert "9 passed" in output(path, "-n", "2")


@pytest.mark.slow
def test_notebooks_are_compared_as_a_cpu_computes_them(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    path = tmp_path / "01_gpu.ipynb"
    seen = v4.new_code_cell('import os\nassert os.environ["CUDA_VISIBLE_DEVICES"] == ""')
    write(v4.new_notebook(cells=[seen]), path)
    assert failed(path) == set()
