"""The places in which `make robust` runs the checker are what their names say."""

import dataclasses
import json
import shutil
import sys

import places
import pytest
import robust
from notebooks import BOOK

ASK = """
import json, locale, os, socket, sys
from pathlib import Path
home = Path("~").expanduser()
try:
    (home / "written").touch()
    written = True
except OSError:
    written = False
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname())
print(json.dumps({
    "locale": locale.setlocale(locale.LC_CTYPE),
    "home": os.environ.get("HOME"),
    "written": written,
    "interfaces": [name for _, name in socket.if_nameindex()],
    "here": os.listdir(),
    "path": sys.argv[1],
    "threads": os.environ.get("OMP_NUM_THREADS"),
}))
"""
OFFLINE = pytest.mark.skipif(not shutil.which("unshare"), reason="a network of its own needs Linux")


@pytest.fixture(autouse=True)
def a_home_to_write_to(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))


def answers(place):
    """Return what programs say that run in that place."""
    done = places.run(place, [sys.executable, "-c", ASK], BOOK / "intro.md")
    assert [one.returncode for one in done] == [0] * place.times, done[0].stdout
    return [json.loads(one.stdout) for one in done]


def answer(name):
    (one,) = answers(places.PLACES[name])
    return one


def test_the_c_locale_knows_no_letters_beyond_ascii():
    assert answer("the C locale")["locale"] == "C"


def test_a_home_is_missing_or_read_only():
    assert answer("another folder")["written"], "what the others lack"
    assert answer("no HOME")["home"] is None
    assert not answer("a HOME that can't be written")["written"]


@OFFLINE
def test_without_a_network_there_is_loopback_alone():
    assert answer("no network")["interfaces"] == ["lo"]


def test_elsewhere_is_an_empty_folder():
    found = answer("another folder")
    assert found["here"] == []
    assert found["path"] == str(BOOK / "intro.md")


def test_the_project_is_copied_to_a_path_with_spaces():
    found = answer("a path with spaces")
    assert " " in found["path"]
    assert {"book", "nbvae", "conftest.py"} <= set(found["here"])
    assert not {".git", ".venv"} & set(found["here"])


@pytest.mark.parametrize(("name", "threads"), [("one thread", "1"), ("two threads", "2")])
def test_threads(name, threads):
    assert answer(name)["threads"] == threads


def test_a_command_that_is_run_twice_tells_both_of_its_results(tmp_path):
    turn = "import os, sys\ntry: os.mkdir(os.environ['DONE'])\nexcept OSError: sys.exit('again')"
    place = places.Place({"DONE": str(tmp_path / "done")}, times=2)
    done = places.run(place, [sys.executable, "-c", turn], BOOK / "intro.md")
    assert [one.stdout.strip() for one in done] == ["", "again"]


def test_two_at_once_meet(tmp_path):
    """Each waits for the other."""
    wait = (
        "import os, sys, time\n"
        "folder = os.environ['MEET']\n"
        "open(os.path.join(folder, str(os.getpid())), 'w').close()\n"
        "until = time.monotonic() + 30\n"
        "while len(os.listdir(folder)) < 2:\n"
        "    time.monotonic() < until or sys.exit('alone')\n"
        "    time.sleep(0.01)\n"
    )
    place = places.Place({"MEET": str(tmp_path)}, times=2, at_once=True)
    done = places.run(place, [sys.executable, "-c", wait], BOOK / "intro.md")
    assert [one.stdout for one in done] == ["", ""]


@OFFLINE
def test_everywhere_is_all_of_it():
    place = places.EVERYWHERE
    for found in answers(place):
        assert found["locale"] == "C"
        assert not found["written"]
        assert found["interfaces"] == ["lo"]
        assert found["here"] == []
        assert " " in found["path"]
    assert place.at_once


@OFFLINE
@pytest.mark.slow
def test_a_chapter_passes_everywhere_at_once_as_on_the_least_of_processors():
    """`make robust` says which of the places it was, if one."""
    least = places.EVERYWHERE.variables | robust.PROCESSORS["default"]
    place = dataclasses.replace(places.EVERYWHERE, variables=least)
    for done in places.run(place, robust.CHECKER, BOOK / "01_counts.ipynb"):
        assert done.returncode == 0, done.stdout
