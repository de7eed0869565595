"""Every check: right answers pass, however written, and each wrong one gets its own diagnosis."""

import pytest
from answers import RIGHT, WRONG

from nbvae import exercises


@pytest.fixture
def verdict(capsys):
    """The line that a check prints about an answer."""

    def read(name, answer):
        getattr(exercises, name)(answer)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1, "a check prints one line"
        return lines[0]

    return read


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("name", RIGHT)
def test_right_answers_pass_however_they_are_written(name, which, verdict):
    assert verdict(f"check_{name}", RIGHT[name][which]).startswith("✓ Exercise ")


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_its_diagnosis(name, answer, words, verdict):
    line = verdict(f"check_{name}", answer)
    assert line.startswith("✗ Exercise ")
    assert words in line


def test_every_check_is_tried_with_right_and_wrong_answers():
    names = {name.removeprefix("check_") for name in exercises.__all__}
    assert names == RIGHT.keys()
    for name in names:
        words = {w for n, _, w in WRONG if n == name}
        assert len(words) >= 2, f"{name} needs two wrong answers with different diagnoses"


@pytest.mark.parametrize("name", exercises.__all__)
@pytest.mark.parametrize("unsolved", [..., lambda *arguments: ..., lambda *arguments: None])
def test_an_unsolved_exercise_says_so(name, unsolved, verdict):
    assert "not solved yet" in verdict(name, unsolved)


@pytest.mark.parametrize("name", exercises.__all__)
def test_an_error_in_the_answer_becomes_part_of_the_line(name, verdict):
    def broken(*arguments):
        raise RuntimeError("of mine")

    line = verdict(name, broken)
    assert line.startswith("✗")
    assert "RuntimeError: of mine" in line or "not RuntimeError" in line
