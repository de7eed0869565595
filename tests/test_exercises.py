"""Every check: right answers pass, however written, and each wrong one gets its own diagnosis."""

import pytest
from answers import RIGHT, WRONG

from nbvae import NBVAE
from nbvae.teaching import exercises
from nbvae.teaching.exercises import CHECKS
from nbvae.teaching.exercises._check import exercise


@pytest.fixture
def verdict(capsys):
    """The line that a check prints about an answer."""

    def read(number, answer):
        exercises.check(number, answer)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1, "a check prints one line"
        return lines[0]

    return read


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("number", RIGHT)
def test_right_answers_pass_however_they_are_written(number, which, verdict):
    assert verdict(number, RIGHT[number][which]).startswith(f"✓ Exercise {number}: ")


@pytest.mark.parametrize(("number", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_its_diagnosis(number, answer, words, verdict):
    line = verdict(number, answer)
    assert line.startswith(f"✗ Exercise {number}: ")
    assert words in line


def test_every_check_is_tried_with_right_and_wrong_answers():
    assert CHECKS.keys() == RIGHT.keys()
    for number in CHECKS:
        words = {w for n, _, w in WRONG if n == number}
        assert len(words) >= 2, f"{number} needs two wrong answers with different diagnoses"


def test_an_unknown_number_is_named():
    """Else a slip of the pen in a chapter would look like an unsolved exercise."""
    with pytest.raises(ValueError, match=r"no exercise '6\.99'; the numbers are: .*6\.1"):
        exercises.check("6.99", None)


def test_a_number_is_given_once():
    """Else the check of one exercise would replace that of another without a word."""
    with pytest.raises(ValueError, match=r"Exercise 6\.1 has two checks"):
        exercise("6.1", "never said.")(lambda answer: None)


@pytest.mark.parametrize("number", CHECKS)
@pytest.mark.parametrize("unsolved", [..., lambda *arguments: ..., lambda *arguments: None])
def test_an_unsolved_exercise_says_so(number, unsolved, verdict):
    assert "not solved yet" in verdict(number, unsolved)


@pytest.mark.parametrize("number", CHECKS)
def test_an_error_in_the_answer_becomes_part_of_the_line(number, verdict):
    def broken(*arguments):
        raise RuntimeError("of mine")

    line = verdict(number, broken)
    assert line.startswith("✗")
    assert "RuntimeError: of mine" in line or "not RuntimeError" in line


def test_a_class_without_a_line_of_its_own_is_not_solved_yet(verdict):
    """Else the stub of exercise 5.6 would be told that it does nothing wrong."""
    assert "not solved yet" in verdict("5.6", type("Sabotaged", (NBVAE,), {}))
