"""What experiments share: the command line, a process of its own, the machine."""

import argparse
import json
import os
import platform
import re
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any


def command_line(benchmark: str | None) -> argparse.ArgumentParser:
    """Begin to read a command line; ``--help`` shows the documentation of the benchmark."""
    raw = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(description=benchmark, formatter_class=raw)


def named(data: str) -> str:
    """Name data as the results do: a file by its name alone."""
    return Path(data).stem if data.endswith(".h5ad") else data


def in_a_process(module: str, *arguments: str, threads: int | None = None) -> dict[str, Any]:
    """Run a module of the benchmarks. What it writes to stderr is shown if it fails.

    Returns:
        The last line of its output, which is JSON.

    """
    limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS") if threads else ()
    ended = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", *arguments],
        cwd=Path(__file__).parents[1],
        env={**os.environ, **dict.fromkeys(limits, str(threads))},
        capture_output=True,
        text=True,
    )
    if ended.returncode:
        sys.exit(f"{module} {' '.join(arguments)} failed:\n{ended.stderr[-4000:]}")
    return json.loads(ended.stdout.splitlines()[-1])


def peak_mb() -> float:
    """Read the most memory that this process has had at once.

    Linux counts in kB, and from what the parent had: run.py has a fifth of this. macOS: bytes.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def machine(*packages: str) -> dict[str, str | int | None]:
    """Describe the machine and the versions by what matters for speed; nothing names it."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in packages},
        "nbvae": commit(),
    }


def cpu() -> str:
    """Read the model's name; where it is vague, the family and model numbers help."""
    if platform.system() != "Linux":
        return platform.processor()
    info = dict(re.findall(r"^([^\t:]+)\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.M))
    numbers = f"family {info.get('cpu family', '?')}, model {info.get('model', '?')}"
    return f"{info.get('model name', platform.machine())} ({numbers})"


def commit() -> str:
    """Name the last commit that changed the package, with a + if files differ from it."""
    failed, last = subprocess.getstatusoutput("git log -1 --format=%h -- nbvae")
    changed = subprocess.getoutput("git status --porcelain -- nbvae")
    return "unknown" if failed else last + ("+" if changed else "")
