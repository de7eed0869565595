"""What Colab brings, and whether this package fits into it: `make colab` refreshes colab.txt.

Colab publishes what its machines have. Of that list colab.txt keeps what this package needs, with
the date. `python tools/colab.py --check` resolves the package against it for Colab's Python; no
package of Colab's may change.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import urlopen

from notebooks import ROOT

LIST = ROOT / "tools" / "colab.txt"
SOURCE = "https://raw.githubusercontent.com/googlecolab/backend-info/main/"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;+]+)", re.MULTILINE)
WHEEL = re.compile(r"^([A-Za-z0-9._-]+) @ \S*/\1-([0-9.]+)", re.MULTILINE)
PYTHON = re.compile(r"[Pp]ython (3\.\d+)")


def pins(text: str) -> dict[str, str]:
    """Return name and version of each package in what pip freezes, or in colab.txt."""
    found = [*PIN.findall(text), *WHEEL.findall(text)]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def resolved(known: dict[str, str], python: str) -> dict[str, str]:
    """Return what the package needs beside PyTorch, next to Colab's packages.

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
                *("--python-version", python, "--constraint", str(constraints)),
                *("--override", str(without), "--extra", "teaching", str(ROOT / "pyproject.toml")),
            ],
            capture_output=True,
            text=True,
        )
    if done.returncode:
        raise ValueError(done.stderr)
    return pins(done.stdout)


def kept(known: dict[str, str], python: str, needed: dict[str, str], day: str) -> str:
    """Return colab.txt: of Colab's packages those that this one needs."""
    named = {"torch", *needed} & set(known)
    rows = "".join(f"{name}=={known[name]}\n" for name in sorted(named))
    return (
        "# What Google Colab brings, of what this package needs. `make colab` writes it.\n"
        f"# python {python}, read {day}\n{rows}"
    )


def refresh() -> None:
    """Read Colab's list and write colab.txt."""
    with urlopen(f"{SOURCE}pip-freeze.txt") as answer:
        known = pins(answer.read().decode())
    with urlopen(f"{SOURCE}os-info.txt") as answer:
        python = PYTHON.findall(answer.read().decode())[0]
    needed = resolved(known, python)
    day = datetime.now(UTC).date().isoformat()
    LIST.write_text(kept(known, python, needed, day), encoding="utf-8")


def check() -> list[str]:
    """Return what is needed beyond colab.txt, in order.

    Raises:
        ValueError: something of Colab's would have to change.

    """
    text = LIST.read_text(encoding="utf-8")
    known = pins(text)
    needed = resolved(known, PYTHON.findall(text)[0])
    changed = {n: v for n, v in needed.items() if known.get(n, v) != v}
    if changed:
        raise ValueError(f"Colab's versions would change: {changed}")
    return sorted(set(needed) - set(known))


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="do not refresh")
    try:
        if not parser.parse_args(arguments).check:
            refresh()
        new = check()
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"No package of colab.txt would change. Beyond it, {len(new)}: {', '.join(new)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
