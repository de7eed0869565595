"""Checking a class: answers alone count, and every way to hand in something else is named."""

import csv

import grade
import pytest
import sample
import student
from nbformat import v4
from notebooks import read, write

pytestmark = pytest.mark.slow

RIGHT, WRONG = "    return 2 * x", "    return x"


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A book of one chapter, and the empty folder of a class."""
    book = tmp_path_factory.mktemp("book")
    write(sample.chapter(), book / "01_sample.ipynb")
    return book, tmp_path_factory.mktemp("class")


def edition(book, *bodies):
    """A student's notebook with these bodies of `double`, a stub where None."""
    notebook = student.student_edition(read(book / "01_sample.ipynb"), "01_sample")
    answers = [c for c in notebook.cells if student.STUB in c.source]
    for cell, body in zip(answers, bodies, strict=True):
        if body is not None:
            cell.source = f"def double(x):\n{body}"
    return notebook


def hand_in(where, who, notebook, name="01_sample.ipynb"):
    (where / who).mkdir(exist_ok=True)
    write(notebook, where / who / name)


@pytest.fixture(scope="module")
def found(folders):
    """The grades of a class of five, by student and exercise."""
    book, where = folders
    hand_in(where, "ada", edition(book, RIGHT, RIGHT, RIGHT, RIGHT), "ada 01_sample (2).ipynb")
    hand_in(where, "bob", edition(book, RIGHT, WRONG, None, "    return (x"))
    cheat = edition(book, WRONG, WRONG, WRONG, WRONG)
    for cell in cheat.cells:
        if student.CHECK_TAG in cell.metadata.get("tags", []):
            number = cell.outputs[0].text.split()[2]
            cell.source = f"print('✓ Exercise {number} twice.')"
    hand_in(where, "eve", cheat)
    missing = edition(book, RIGHT, RIGHT, RIGHT, RIGHT)
    at = next(i for i, c in enumerate(missing.cells) if c.source.startswith("### Exercise 1.4"))
    del missing.cells[at : at + 3]
    hand_in(where, "kim", missing)
    (where / "lee").mkdir()
    (where / "lee" / "01_sample.ipynb").write_text("{", encoding="utf-8")
    hand_in(where, "lee", v4.new_notebook(), "diary.ipynb")
    hidden = where / "ada" / ".ipynb_checkpoints"
    hidden.mkdir()
    (hidden / "01_sample.ipynb").write_text("{", encoding="utf-8")
    return {(g.student, g.exercise): g for g in grade.grades(where, book, seconds=5)}


def test_right_answers_are_solved_whatever_the_file_is_called(found):
    assert all(found["ada", f"1.{k}"].solved for k in range(1, 5))


def test_wrong_and_missing_answers_say_what_the_check_says(found):
    assert found["bob", "1.1"].solved
    for k in (2, 3):
        assert not found["bob", f"1.{k}"].solved
        assert "not solved" in found["bob", f"1.{k}"].said
    assert "SyntaxError" in found["bob", "1.4"].said


def test_a_changed_check_counts_for_nothing(found):
    assert not any(found["eve", f"1.{k}"].solved for k in range(1, 5))


def test_what_was_not_handed_in_is_named(found):
    assert found["kim", "1.3"].solved
    assert found["kim", "1.4"].said == "the task was not handed in"
    assert "cannot be read" in found["lee", "01_sample.ipynb"].said
    assert found["lee", "diary.ipynb"].said == "no chapter has this name"
    assert len(found) == 18  # and nothing of ada's hidden folder


def test_a_summary_counts_and_names_the_commonest_mistake(found):
    lines = list(grade.summary(found.values()))
    assert lines[1].startswith("1.2    2 of 4   2 × ")


def test_the_command_writes_a_table(folders, found, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(grade, "grades", lambda handed_in: iter(found.values()))
    assert grade.main([str(folders[1]), "--out", str(tmp_path / "grades.csv")]) == 0
    with (tmp_path / "grades.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found)
    assert {row["solved"] for row in rows} == {"0", "1"}
    assert "2 of 4" in capsys.readouterr().out


def fails_after(found):
    yield from found
    raise OSError("no space left")


def test_what_was_judged_is_kept_if_something_fails_later(found, folders, tmp_path, monkeypatch):
    out = tmp_path / "grades.csv"
    monkeypatch.setattr(grade, "grades", lambda handed_in: fails_after(found.values()))
    with pytest.raises(OSError, match="no space"):
        grade.main([str(folders[1]), "--out", str(out)])
    assert len(out.read_text(encoding="utf-8").splitlines()) == len(found) + 1


def test_where_no_table_can_be_written_nothing_is_judged(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(grade, "grades", lambda handed_in: pytest.fail("it should not start"))
    for out in (tmp_path, tmp_path / "nowhere" / "grades.csv"):
        assert grade.main([str(folders[1]), "--out", str(out)]) == 1
        assert "No table can be written" in capsys.readouterr().err


def test_praise_that_is_not_seen_is_not_praise():
    for said in ("\u200b✓ Exercise 1.2: yes.", "\x1b[2K ✓ yes", "✓✓ yes"):
        assert not grade.row(grade._grade("eve", "1.2", {"said": said}))[3].startswith("✓")


def test_an_empty_class_is_told(tmp_path, capsys):
    out = str(tmp_path / "grades.csv")
    assert grade.main([str(tmp_path), "--out", out]) == 1
    assert "no notebook" in capsys.readouterr().err
    assert grade.main([str(tmp_path / "nobody"), "--out", out]) == 1
    assert "no folder" in capsys.readouterr().err
