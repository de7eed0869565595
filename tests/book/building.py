"""Building a book as `make book` does."""

import subprocess
import sys
from pathlib import Path


def build(source, out):
    """Build the book in a folder and return the folder of its pages."""
    command = [Path(sys.executable).with_name("jupyter-book"), "build", "--all", "-W", "-n"]
    done = subprocess.run(
        [*command, "--keep-going", "--path-output", out, source], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out / "_build" / "html"
