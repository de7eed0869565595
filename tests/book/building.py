"""Building a book as `make book` does."""

import fcntl
import subprocess
import sys
from pathlib import Path

from notebooks import ROOT


def build(source, out):
    """Build the book in a folder and return the folder of its pages."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", "--all", "-W", "-n"]
    done = subprocess.run(
        [*command, "--keep-going", "--path-output", out, source], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "_build" / "html"


def build_once(shared):
    """Build the whole book in a folder that processes share; those that come later wait for it."""
    out = shared / "site"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (out / "built").exists():
            build(ROOT, out)
            (out / "built").touch()
    return out / "_build" / "html"
