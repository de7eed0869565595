"""The lecturers' page lists the exercises that there are, as they are."""

import re

import pytest
import student
from notebooks import BOOK, chapters, read
from test_wall import TOGETHER

from nbvae.teaching.exercises import CHECKS

PAGE = BOOK / "for_lecturers.md"
ROW = re.compile(
    r"^\| \[(\d+\.\d+)\]\((\w+\.ipynb)#[\w-]+\) ([^|]+) \|\s*([^|]*?)\s*\| [^|]+ \|$", re.MULTILINE
)
KINDS = {"pencil", "break", "open"}


@pytest.fixture(scope="module")
def rows():
    return {number: rest for number, *rest in ROW.findall(PAGE.read_text(encoding="utf-8"))}


@pytest.fixture(scope="module")
def exercises():
    """Heading and text of each task, by its number."""
    found = {}
    for path in chapters():
        for exercise in student.exercises(read(path)):
            heading, _, text = exercise.task.source.partition("\n")
            found[exercise.number] = path.name, heading.partition(" · ")[2], text
    return found


def test_every_exercise_has_its_row_in_order(rows, exercises):
    assert list(rows) == list(exercises)


def test_every_check_is_asked_by_a_chapter(exercises):
    """Else the check of an exercise that is gone would stay, with all of its answers."""
    assert set(CHECKS) <= set(exercises)


def test_a_row_has_the_title_and_the_file_of_its_exercise(rows, exercises):
    for number, (file, title, *_) in rows.items():
        expected_file, heading, _ = exercises[number]
        assert (file, heading.startswith(title)) == (expected_file, True), number


def test_kinds_are_those_that_the_tasks_claim(rows, exercises):
    for number, (_, _, kind) in rows.items():
        kinds = set(filter(None, kind.split(", ")))
        assert kinds <= KINDS, number
        _, heading, text = exercises[number]
        assert ("pencil" in heading) <= ("pencil" in kinds), number
        is_open = "(open)" in heading or re.search(r"^Open\.", text, re.MULTILINE)
        assert bool(is_open) <= ("open" in kinds), number


def test_each_chapter_has_all_three_kinds(rows):
    for chapter in {number.split(".")[0] for number in rows}:
        kinds = {
            kind
            for n, row in rows.items()
            if n.split(".")[0] == chapter
            for kind in row[2].split(", ")
        }
        assert kinds >= KINDS, chapter


def test_the_exercises_that_are_judged_together_are_named():
    """Who grades a class has to read the answers to these."""
    [named] = re.findall(r"says \*together\* \(([^)]+), whose", PAGE.read_text(encoding="utf-8"))
    assert set(re.findall(r"\d+\.\d", named)) == TOGETHER


def test_the_plans_name_exercises_that_exist(exercises):
    text = PAGE.read_text(encoding="utf-8")
    plans = text[text.index("## Half a day") : text.index("## What each exercise tests")]
    named = re.findall(r"\b(\d{1,2}\.\d)\b", plans)
    assert len(named) > 20
    assert set(named) <= exercises.keys()
