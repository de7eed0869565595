"""The Makefile: it promises an environment that works, whatever stands in its place."""

import os
import shutil
import stat
import subprocess

import pytest
from notebooks import ROOT

# Stands for Python: makes environments with itself in them, and writes down what it is asked.
FAKE = """#!/bin/sh
echo "$0" "$@" | tr '\\n' ' ' >> "$LOG"
echo >> "$LOG"
case "$1 $2" in
  "-c "*) exit @OLD@ ;;
  "-m venv")
    if test -e "$4" && ! test -d "$4"; then echo "$4: not a directory" >&2; exit 1; fi
    rm -rf "$4"/*
    mkdir -p "$4/bin"
    cp "$GOOD" "$4/bin/python" ;;
  "tools/grade.py --") printf '%s|' "$@" > "$LOG.class" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """What make needs of the project, in a folder with a space, and two Pythons."""
    folder = tmp_path / "my book"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name, old in (("python", 0), ("old", 1)):
        (tmp_path / "some where").mkdir(exist_ok=True)
        path = tmp_path / "some where" / name
        path.write_text(FAKE.replace("@OLD@", str(old)))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setenv("GOOD", str(tmp_path / "some where" / "python"))
    return folder


def make(folder, *arguments, python="python"):
    path = folder.parent / "some where" / python
    (folder.parent / "log").write_text("")
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    done = subprocess.run(
        ["make", *arguments, f"PYTHON={path}"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done, (folder.parent / "log").read_text()


def environment_of(folder, python="python"):
    """An environment that is ready, with one of the two Pythons."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    shutil.copy(folder.parent / "some where" / python, folder / ".venv" / "bin" / "python")
    (folder / ".venv" / ".ready").touch()


def nothing(folder):
    pass


def empty(folder):
    (folder / ".venv").mkdir()


def of_a_python_that_is_gone(folder):
    environment_of(folder)
    (folder / ".venv" / "bin" / "python").unlink()
    (folder / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")


def of_an_old_python(folder):
    environment_of(folder, "old")


def a_file(folder):
    (folder / ".venv").touch()


def a_link_to_nowhere(folder):
    (folder / ".venv").symlink_to("/nowhere/venv")


def half_made(folder):
    environment_of(folder)
    (folder / ".venv" / ".ready").unlink()


BROKEN = [nothing, empty, of_a_python_that_is_gone, of_an_old_python, a_file, a_link_to_nowhere]


@pytest.mark.parametrize("before", [*BROKEN, half_made], ids=lambda before: before.__name__)
def test_an_environment_that_does_not_work_is_made_anew(checkout, before):
    before(checkout)
    done, log = make(checkout, "outputs")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert ("venv --clear .venv" in log) == (before is not half_made)
    assert "pip install" in log
    assert ".venv/bin/python tools/outputs.py" in log
    done, log = make(checkout, "outputs")
    assert done.returncode == 0
    assert "pip install" not in log, "one that works is left alone"


def test_changed_requirements_are_installed_into_the_same_environment(checkout):
    environment_of(checkout)
    later = (checkout / ".venv" / ".ready").stat().st_mtime + 10
    os.utime(checkout / "requirements.txt", (later, later))
    _, log = make(checkout, "outputs")
    assert "pip install" in log
    assert "--clear" not in log


def test_an_old_python_is_refused_by_name(checkout):
    done, log = make(checkout, "outputs", python="old")
    assert done.returncode != 0
    assert "3.11 or newer is needed" in done.stderr
    assert "venv" not in log
    assert not (checkout / ".venv").exists()


@pytest.mark.parametrize("name", ["a b", "a$b", 'a"b', "it's", "a#b", "a`id`b", "a(b)", "*", "~"])
def test_a_clone_may_lie_anywhere(checkout, name):
    """Only python is in the environment: pip writes scripts that some of these names break."""
    folder = checkout.rename(checkout.with_name(name))
    done, log = make(folder, "-j4", "book", "types", "outputs", "student", "colab")
    assert (done.returncode, done.stderr) == (0, "")
    assert log.count("pip install") == 1
    assert sorted(p.name for p in (folder / ".venv" / "bin").iterdir()) == ["python"]


@pytest.mark.parametrize("name", ["class", "my class", "it's a class", "-class", "a$b;c"])
def test_a_class_may_have_any_name(checkout, name):
    environment_of(checkout)
    done, _ = make(checkout, "grade", f"CLASS={name.replace('$', '$$')}")
    assert done.returncode == 0, done.stderr
    assert (checkout.parent / "log.class").read_text() == f"tools/grade.py|--|{name}|"


def test_a_class_must_have_a_name(checkout):
    environment_of(checkout)
    done, _ = make(checkout, "grade")
    assert done.returncode != 0
    assert "make grade CLASS=" in done.stderr


@pytest.mark.parametrize(
    ("chapters", "asked"),
    [
        *(("", ""), ("5", " --chapter 5"), ("5 6", " --chapter 5 --chapter 6")),
        *(("5-7", " --chapter 5-7"), ("5, 6", " --chapter 5, --chapter 6")),
        ("5;touch$${IFS}x", " --chapter 5;touch${IFS}x"),
    ],
)
def test_the_student_edition_of_some_chapters(checkout, chapters, asked):
    environment_of(checkout)
    _, log = make(checkout, "student", f"CHAPTER={chapters}")
    assert f"tools/student.py{asked}" in [
        line.strip().partition(" ")[2] for line in log.split("\n")
    ]
