"""What Colab brings, and whether this package fits into it: `make colab` refreshes colab.txt.

Colab publishes what its machines have. The set-up cell of a chapter lets pip change none of it, so
the package has to resolve next to the whole list; of that list colab.txt keeps what is needed, with
its source and day. `--check` resolves against colab.txt and writes nothing. `--from` takes a list
from a file, whose first lines say Python and day as those of colab.txt do.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

from notebooks import ROOT

LIST = ROOT / "tools" / "colab.txt"
LISTS = ("pip-freeze.txt", "pip-freeze.gpu.txt")  # without a GPU and with one
SOURCE = "https://raw.githubusercontent.com/googlecolab/backend-info/main/"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;+]+)", re.MULTILINE)
WHEEL = re.compile(r"^([A-Za-z0-9._-]+) @ \S*/\1-([0-9.]+)", re.MULTILINE)
PYTHON = re.compile(r"[Pp]ython (3\.\d+)")
ORIGIN = re.compile(r"^# python 3\.\d+, list of \d{4}-\d\d-\d\d.*$", re.MULTILINE)


def pins(text: str) -> dict[str, str]:
    """Return name and version of each package in what pip freezes, or in colab.txt."""
    found = [*PIN.findall(text), *WHEEL.findall(text)]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def origin(text: str) -> str:
    """Return the line that says which Python a list is for, and of which day it is.

    Raises:
        ValueError: there is none.

    """
    line = ORIGIN.search(text)
    if not line:
        raise ValueError("Begin the list with a line such as: # python 3.13, list of 2026-09-30")
    return line[0]


def download(name: str) -> str:
    """Return a list of Colab's as it is today, with its origin."""
    with urlopen(f"{SOURCE}os-info.txt") as answer:
        python = PYTHON.findall(answer.read().decode())[0]
    with urlopen(SOURCE + name) as answer:
        packages = answer.read().decode()
    day = datetime.now(UTC).date().isoformat()
    return f"# python {python}, list of {day}: {SOURCE}{name}\n{packages}"


def resolved(known: dict[str, str], python: str, *options: str) -> dict[str, str]:
    """Return what the package needs beside PyTorch, where no package of Colab's may change.

    Args:
        known: Colab's packages and their versions.
        python: Colab's Python, such as "3.13".
        options: more of uv's, such as "--extra", "teaching".

    Raises:
        ValueError: they do not go together; it says why.

    """
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder, "colab.txt")
        rows = [f"{name}=={version}\n" for name, version in known.items() if name != "torch"]
        constraints.write_text("".join(rows), encoding="utf-8")
        without = Path(folder, "without.txt")  # its build there is of Colab's own
        without.write_text("torch ; sys_platform == 'never'\n", encoding="utf-8")
        done = subprocess.run(
            [
                *("uv", "pip", "compile", "--quiet", "--no-annotate", "--no-header"),
                *("--no-python-downloads", "--python-version", python),
                *("--constraint", str(constraints), "--override", str(without)),
                *(*options, str(ROOT / "pyproject.toml")),
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise ValueError(done.stderr)
    return pins(done.stdout)


def kept(text: str) -> str:
    """Return colab.txt: of Colab's packages those that the chapters need."""
    known = pins(text)
    needed = resolved(known, PYTHON.findall(origin(text))[0], "--extra", "teaching")
    rows = "".join(f"{name}=={known[name]}\n" for name in sorted({"torch", *needed} & set(known)))
    title = "# What Google Colab brings, of what the chapters need. `make colab` writes it."
    return f"{title}\n{origin(text)}\n{rows}"


def added(text: str) -> list[str]:
    """Return what the set-up cell adds to the packages of a list, in order.

    Raises:
        ValueError: something of Colab's would have to change, or is missing there.

    """
    known = pins(text)
    python = PYTHON.findall(origin(text))[0]
    resolved(known, python, "--extra", "teaching")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {re.split("[<>=~!]", row)[0] for row in project["optional-dependencies"]["teaching"]}
    absent = wanted - set(known)  # the cell installs the package without its extras
    if absent:
        raise ValueError(f"Colab no longer brings what the chapters need: {sorted(absent)}")
    return sorted(set(resolved(known, python)) - set(known))


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--from", dest="file", type=Path, help="a list that was saved, not today's")
    given = parser.parse_args(arguments)
    file = given.file or (LIST if given.check else None)
    try:
        texts = [file.read_text(encoding="utf-8")] if file else [download(n) for n in LISTS]
        new = sorted({name for text in texts for name in added(text)})
        if not given.check:
            LIST.write_text(kept(texts[0]), encoding="utf-8")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"No package of Colab's would change. The cell adds {len(new)}: {', '.join(new)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
