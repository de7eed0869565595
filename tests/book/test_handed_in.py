"""What a class hands in: every folder is read, and nothing in it ends the reading."""

import csv
import json
import os
import subprocess

import grade
import pytest
import sample
import student
from handed_in import MOST, VERSIONS, Worked, read_all
from notebooks import dumps, read, write

RIGHT = "def double(x):\n    return 2 * x"


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    folder = tmp_path_factory.mktemp("book")
    for n in (1, 2):
        write(sample.chapter(n), folder / f"{n:02}_sample.ipynb")
    return folder


@pytest.fixture(scope="module")
def worked(book):
    return Worked({path: read(path) for path in sorted(book.glob("*.ipynb"))})


@pytest.fixture
def edition(book):
    """The student edition of chapter 1, as a dictionary."""
    notebook = student.student_edition(read(book / "01_sample.ipynb"), "01_sample")
    return json.loads(dumps(notebook))


def put(folder, name, notebook):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(notebook if isinstance(notebook, str) else json.dumps(notebook))
    return path


def at(notebook, heading):
    """Place of a task in a notebook."""
    return next(
        i for i, c in enumerate(notebook["cells"]) if "".join(c["source"]).startswith(heading)
    )


def cell(kind, source):
    return {"cell_type": kind, "source": source, "metadata": {}, "outputs": []}


NAMES = {
    "ada/01_sample.ipynb": "ada",
    "ada/week 1/work/01_sample.ipynb": "ada",
    "Ada Lovelace_12345_assignsubmission_file_/01_sample.ipynb": "Ada Lovelace",
    "Ada Lovelace_12345_assignsubmission_file_01_sample.ipynb": "Ada Lovelace",
    "Ada Lovelace_12345_assignsubmission_file/01_sample.ipynb": "Ada Lovelace",
    "lovelaceada_4711_90210_01_sample.ipynb": "lovelaceada",
    "lovelaceada_LATE_4711_90210_01_sample-2.ipynb": "lovelaceada",
    "hw1-submissions/hw1-ada/student/01_sample.ipynb": "hw1-ada",
    "hw1-ada/student/01_sample.ipynb": "hw1-ada",
    "ada 01_sample.ipynb": "ada",
    "01_sample.ipynb": "01_sample.ipynb",
    "ada/homework.ipynb": "ada",
    "ada/01 Sample (final) (2).ipynb": "ada",
    "=ada/01_sample.IPYNB": "=ada",
    "CS1-Homework 3/Ada_1_assignsubmission_file/01_sample.ipynb": "Ada",
    "submissions/lovelaceada_4711_90210_01_sample.ipynb": "lovelaceada",
    "Copy of 01_sample.ipynb": "Copy of 01_sample.ipynb",
    "Copy (2) of 01_sample (1).ipynb": "Copy (2) of 01_sample (1).ipynb",
    "Kopie von 01_sample.ipynb": "Kopie von 01_sample.ipynb",
    "Ada - Copy of 01_sample.ipynb": "Ada - Copy of",
    "ada/Copy of 01_sample.ipynb": "ada",
}

OF_ONE_NAME = {
    "Moodle's folders": "Ada L_{}_assignsubmission_file_/01_sample.ipynb",
    "Moodle's files": "Ada L_{}_assignsubmission_file_01_sample.ipynb",
    "Moodle without names": "Participant_{}_assignsubmission_file_/01_sample.ipynb",
    "Canvas": "lada_{}_4711_01_sample.ipynb",
}


@pytest.mark.parametrize("where", OF_ONE_NAME)
def test_two_students_of_one_name_are_two(where, worked, edition, tmp_path):
    """Else the better answer of the two would count for both."""
    for number in (11, 12):
        put(tmp_path, OF_ONE_NAME[where].format(number), edition)
    found, _ = read_all(tmp_path, worked)
    assert len({notebook.student for notebook in found}) == 2
    assert {notebook.student[-2:] for notebook in found} == {"11", "12"}


def test_two_files_of_one_student_are_of_one(worked, edition, tmp_path):
    for name in ("lada_11_4711_01_sample.ipynb", "lada_11_4712_02_sample-2.ipynb"):
        put(tmp_path, name, edition)
    found, _ = read_all(tmp_path, worked)
    assert [notebook.student for notebook in found] == ["lada", "lada"]


def test_what_a_system_leaves_beside_the_class_is_not_a_student(worked, edition, tmp_path):
    put(tmp_path, "hw1-submissions/hw1-ada/01_sample.ipynb", edition)
    put(tmp_path, "__MACOSX/hw1-submissions/._01_sample.ipynb", "")
    put(tmp_path, ".DS_Store", "")
    [notebook], unread = read_all(tmp_path, worked)
    assert (notebook.student, unread) == ("hw1-ada", [])


def test_folders_nested_deeper_than_python_goes_end_nothing(worked, edition, tmp_path):
    put(tmp_path, "bob/01_sample.ipynb", edition)
    (tmp_path / "ada").mkdir()
    here = os.open(tmp_path / "ada", os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a", dir_fd=here)
        below = os.open("a", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        [notebook], [unread] = read_all(tmp_path, worked)
    finally:  # pytest can't remove them either
        subprocess.run(["rm", "-rf", tmp_path / "ada"], check=True)
    assert (notebook.student, unread.student) == ("bob", "ada")


def test_a_notebook_of_endless_cells_is_named_and_left(worked, edition, tmp_path):
    """What stands above each of many answers, kept for each, would take all memory."""
    put(tmp_path, "bob/01_sample.ipynb", edition)
    put(tmp_path, "cleo/01_sample.ipynb", edition | {"cells": edition["cells"] * 50})
    put(tmp_path, "ada/01_sample.ipynb", edition | {"cells": edition["cells"] * 1000})
    found, [unread] = read_all(tmp_path, worked)
    assert {n.student for n in found} == {"bob", "cleo"}
    assert max(len(answers) for n in found for answers in n.answers.values()) <= VERSIONS
    assert (unread.student, unread.said) == ("ada", f"cannot be read: more than {MOST} cells")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_notebook_may_be_written_as_any_editor_writes_it(encoding, worked, edition, tmp_path):
    path = put(tmp_path, "ada/01_sample.ipynb", edition)
    path.write_bytes(json.dumps(edition, ensure_ascii=False).encode(encoding))
    [notebook], unread = read_all(tmp_path, worked)
    assert (len(notebook.answers), unread) == (4, [])


@pytest.mark.parametrize("name", NAMES)
def test_a_file_belongs_to_its_student(name, worked, edition, tmp_path):
    put(tmp_path, name, edition)
    [notebook], unread = read_all(tmp_path, worked)
    assert (notebook.student, [*notebook.answers], unread) == (
        NAMES[name],
        ["1.1", "1.2", "1.3", "1.4"],
        [],
    )


UNREADABLE = {
    "empty": "",
    "half": '{"cells": [',
    "a list": "[]",
    "a number": "7",
    "no cells": '{"metadata": {}}',
    "cells that are none": '{"cells": [1, null]}',
    "a source that is none": '{"cells": [{"cell_type": "code", "source": [1]}]}',
    "an identifier that is none": '{"cells": [{"cell_type": "code", "source": "", "id": []}]}',
    "a deep nest": "[" * 100_000,
    "a page": "<html></html>",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_is_no_notebook_is_named_and_left(name, worked, edition, tmp_path):
    put(tmp_path, "ada/01_sample.ipynb", UNREADABLE[name])
    put(tmp_path, "bob/01_sample.ipynb", edition)
    [notebook], [unread] = read_all(tmp_path, worked)
    assert notebook.student == "bob"
    assert (unread.student, unread.name) == ("ada", "01_sample.ipynb")
    assert unread.said.startswith("cannot be read: ")


def of_other_bytes(path):
    path.write_bytes(b"\xff\xfe{\x00}\x00")


def a_link_to_nowhere(path):
    path.symlink_to("/nowhere")


def a_link_to_itself(path):
    path.symlink_to(path)


def a_link_to_another(path):
    path.symlink_to(path.parent.parent / "bob" / "01_sample.ipynb")


def a_folder(path):
    path.mkdir()


def a_pipe(path):
    os.mkfifo(path)


def too_large(path):
    with path.open("wb") as file:
        file.truncate(2**40)


@pytest.mark.parametrize(
    "make",
    [
        *(of_other_bytes, a_link_to_nowhere, a_link_to_itself, a_link_to_another),
        *(a_folder, a_pipe, too_large),
    ],
    ids=lambda make: make.__name__,
)
def test_what_is_no_file_is_named_and_left(make, worked, edition, tmp_path):
    put(tmp_path, "bob/01_sample.ipynb", edition)
    (tmp_path / "ada").mkdir()
    make(tmp_path / "ada" / "01_sample.ipynb")
    [notebook], [unread] = read_all(tmp_path, worked)
    assert notebook.student == "bob"
    assert unread.said.startswith("cannot be read: ")


def test_folders_without_a_notebook_are_named(worked, edition, tmp_path):
    put(tmp_path, "ada/answers.zip", "")
    put(tmp_path, "bob/notes.txt", "")
    put(tmp_path, "cleo.zip", "")
    put(tmp_path, "eve/homework/week 3/mine.7z", "")
    put(tmp_path, "__MACOSX/ada/._01_sample.ipynb", "")
    put(tmp_path, "dan/.ipynb_checkpoints/01_sample.ipynb", edition)
    found, unread = read_all(tmp_path, worked)
    assert found == []
    assert {u.student: u.said for u in unread} == {
        "ada": "an archive: unpack it",
        "bob": "holds no notebook",
        "cleo": "an archive: unpack it",
        "dan": "holds no notebook",
        "eve": "an archive: unpack it",
    }


def without_source(notebook):
    del notebook["cells"][0]["source"]
    notebook["cells"].insert(3, {"cell_type": "code"})


def with_a_lone_surrogate(notebook):
    notebook["cells"].insert(3, cell("code", "'\ud800'"))


def without_identifiers(notebook):
    for one in notebook["cells"]:
        del one["id"]
    notebook["nbformat_minor"] = 2


def of_format_3(notebook):
    for one in notebook["cells"]:
        if one["cell_type"] == "code":
            one["input"] = one.pop("source")
        del one["id"]
    notebook["worksheets"] = [{"cells": notebook.pop("cells")}]
    notebook["nbformat"] = 3


def of_format_99(notebook):
    notebook["nbformat"] = 99


def with_a_note_above_the_heading(notebook):
    task = notebook["cells"][at(notebook, "### Exercise 1.2")]
    task["source"] = "I had no time.\n\n" + "".join(task["source"])


def with_another_heading(notebook):
    for k in range(1, 5):
        task = notebook["cells"][at(notebook, f"### Exercise 1.{k}")]
        task["source"] = f"## exercise 1.{k}: mine"


def without_headings(notebook):
    for k in range(1, 5):
        del notebook["cells"][at(notebook, f"### Exercise 1.{k}")]


def with_an_unknown_exercise(notebook):
    notebook["cells"].append(cell("markdown", "### Exercise 77.7 · mine"))
    notebook["cells"].append(cell("code", "1"))


@pytest.mark.parametrize(
    "change",
    [
        *(without_source, with_a_lone_surrogate, without_identifiers, of_format_3, of_format_99),
        *(with_a_note_above_the_heading, with_another_heading, without_headings),
        with_an_unknown_exercise,
    ],
    ids=lambda change: change.__name__,
)
def test_a_changed_notebook_is_read(change, worked, edition, tmp_path):
    for answer in edition["cells"]:
        if student.STUB in "".join(answer["source"]):
            answer["source"] = RIGHT
    change(edition)
    put(tmp_path, "ada/01_sample.ipynb", edition)
    [notebook], unread = read_all(tmp_path, worked)
    assert unread == []
    assert {n: [a.before for a in answers] for n, answers in notebook.answers.items()} == {
        f"1.{k}": [[RIGHT]] for k in range(1, 5)
    }


def test_cells_around_the_answer_are_kept_in_their_order(worked, edition, tmp_path):
    place = at(edition, "### Exercise 1.2")
    cells = edition["cells"]
    cells.insert(place + 3, cell("code", "below"))
    cells.insert(place + 2, cell("code", "helper"))
    cells.insert(place + 1, cell("markdown", "a thought"))
    cells.insert(place + 1, cell("code", "scratch"))
    cells.insert(1, cell("code", "own"))
    put(tmp_path, "ada/01_sample.ipynb", edition)
    [notebook], _ = read_all(tmp_path, worked)
    [answer] = notebook.answers["1.2"]
    assert [answer.before[0], answer.before[2], answer.after] == ["scratch", "helper", ["below"]]
    assert answer.earlier[0] == "own"


@pytest.mark.slow
def test_of_two_versions_the_better_counts_and_one_is_listed(book, edition, tmp_path):
    put(tmp_path, "ada/01_sample.ipynb", edition)
    edition["cells"][at(edition, "### Exercise 1.2") + 1]["source"] = RIGHT
    put(tmp_path, "ada/01_sample (1).ipynb", edition)
    found = {g.exercise: g.solved for g in grade.grades(tmp_path, book)}
    assert found == {"1.1": False, "1.2": True, "1.3": False, "1.4": False}


@pytest.mark.slow
def test_the_book_itself_is_no_answer(book, edition, tmp_path):
    """A repository of GitHub Classroom has the worked chapters beside the student's."""
    for name in ("01_sample.ipynb", "02_sample.ipynb"):
        put(tmp_path, f"ada/book/{name}", (book / name).read_text())
    put(tmp_path, "ada/student/01_sample.ipynb", edition)
    found = list(grade.grades(tmp_path, book))
    assert [g.exercise for g in found] == ["1.1", "1.2", "1.3", "1.4"]
    assert not any(g.solved for g in found)


@pytest.mark.slow
def test_a_helper_of_an_earlier_exercise_is_found(book, edition, tmp_path):
    edition["cells"][at(edition, "### Exercise 1.1") + 1]["source"] = "two = 2\n" + RIGHT
    edition["cells"][at(edition, "### Exercise 1.2") + 1]["source"] = RIGHT.replace("2", "two")
    put(tmp_path, "ada/01_sample.ipynb", edition)
    found = {g.exercise: g.solved for g in grade.grades(tmp_path, book)}
    assert found["1.2"]


NASTY = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "a\nb", "\ud800", "ünï", "'", '"', "a,b"]
NASTY += [
    " =1",
    "\u200b=1",
    "\r\n=1",
    "a;=1",
    "a;\t@b",
    'a";=1;"',
    "；＝1",
    "＝1",
    "＋1",
    "－1",
    "＠a",
]
NASTY += ["=" * 100_000, "\u202e1=", "\x00=1", "\ufeff=1", "'=1", "|=1", "1;=;=;-;+"]


@pytest.mark.parametrize("text", NASTY)
def test_a_table_is_only_text(text, tmp_path):
    grade.write([grade.Grade(text, "1.1", False, text, "apart")], tmp_path / "grades.csv")
    with (tmp_path / "grades.csv").open(encoding="utf-8", newline="") as file:
        _, line = csv.reader(file)
    cells = [cell.strip() for value in line for cell in value.split(";")]
    assert not any(cell.startswith(tuple("=+-@＝＋－＠")) for cell in cells)
    assert not any(c in value for c in "\n\r\t" for value in line)
    assert (tmp_path / "grades.csv").read_bytes().count(b'"') % 2 == 0


def test_a_table_that_is_there_is_kept(tmp_path):
    path = tmp_path / "grades.csv"
    for said in ("first", "second", "second", "third"):
        grade.write([grade.Grade("ada", "1.1", False, said)], path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "grades-1.csv",
        "grades-2.csv",
        "grades.csv",
    ]
    assert "first" in (tmp_path / "grades-1.csv").read_text()
    assert "third" in path.read_text()


def test_an_empty_class_leaves_the_table_alone(tmp_path, capsys):
    (tmp_path / "class").mkdir()
    path = put(tmp_path, "grades.csv", "kept")
    assert grade.main([str(tmp_path / "class"), "--out", str(path)]) == 1
    assert path.read_text() == "kept"


def test_grades_are_listed_by_student_and_number():
    found = [grade.Grade(who, n, True, "") for n in ("10.1", "2.1", "x.ipynb") for who in "ba"]
    assert [(g.student, g.exercise) for g in grade.in_order(found)] == [
        (who, n) for who in "ab" for n in ("2.1", "10.1", "x.ipynb")
    ]
