"""Where a reader may run the checker: other locales, homes, folders, machines without a network.

`tools/robust.py` runs `pytest --nbval` in each of them; `EVERYWHERE` is all at once.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from notebooks import ROOT

NOT_COPIED = (".*", "_build", "student", "dist", "build", "__pycache__", "*.egg-info")
# Its own network, in which only loopback is up: a notebook's kernel is spoken to there.
LOOPBACK = """
import fcntl, os, socket, struct, sys
up = struct.pack("16sh", b"lo", 0x41)
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, up)
os.execvp(sys.argv[1], sys.argv[1:])
"""
OFFLINE = ("unshare", "--map-root-user", "--net", sys.executable, "-c", LOOPBACK)


@dataclass(frozen=True)
class Place:
    """What is different there.

    Args:
        variables: of the environment; ``None`` takes one away.
        before: what the command is handed to.
        elsewhere: the working directory is an empty folder.
        copied: the project lies in a folder with spaces in its name.
        times: how often the command runs, at once or in a row.
        at_once: all of them at the same time.

    """

    variables: dict[str, str | None] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    elsewhere: bool = False
    copied: bool = False
    times: int = 1
    at_once: bool = False


PLACES = {
    "the C locale": Place({"LC_ALL": "C", "LANG": "C"}),
    "no HOME": Place({"HOME": None}),
    "a HOME that can't be written": Place({"HOME": "/sys"}),  # not even by root
    "no network": Place(before=OFFLINE),
    "another folder": Place(elsewhere=True),
    "a path with spaces": Place(copied=True),
    "one thread": Place({"OMP_NUM_THREADS": "1"}),
    "two threads": Place({"OMP_NUM_THREADS": "2"}),
    "twice in a row": Place(times=2),
    "two at once": Place(times=2, at_once=True),
}
EVERYWHERE = Place(
    {"LC_ALL": "C", "LANG": "C", "HOME": "/sys", "OMP_NUM_THREADS": "2"},
    before=OFFLINE,
    elsewhere=True,
    copied=True,
    times=2,
    at_once=True,
)


def run(place: Place, command: Sequence[str], path: Path) -> list[subprocess.CompletedProcess[str]]:
    """Run a command on a file of the project, as it is found in this place.

    Args:
        place: where.
        command: what; the file's path is its last argument.
        path: a file below the project's root.

    Returns:
        What each of its runs printed, and how it ended.

    """
    with _project(place.copied) as root, tempfile.TemporaryDirectory() as empty:
        changed = os.environ | {"PYTHONPATH": str(root)} | place.variables
        environment = {name: value for name, value in changed.items() if value is not None}
        where = empty if place.elsewhere else root
        together = [*place.before, *command, str(root / path.relative_to(ROOT))]
        with ThreadPoolExecutor(place.times if place.at_once else 1) as pool:
            return list(
                pool.map(lambda _: _output(together, where, environment), range(place.times))
            )


def _output(
    command: Sequence[str], folder: Path | str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


@contextmanager
def _project(copied: bool) -> Iterator[Path]:
    """Give the folder in which the project lies."""
    if not copied:
        yield ROOT
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "my own book")
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(*NOT_COPIED))
        yield root
