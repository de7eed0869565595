"""Which machine and which versions a number comes from, and how much memory a process took."""

import os
import platform
import resource
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import torch


def described() -> dict[str, object]:
    """Describe the machine by what matters for speed; nothing names it."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scvi-tools": metadata.version("scvi-tools"),
        "lightning": metadata.version("lightning"),
        "nbvae": _commit(),
    }


def _cpu() -> str:
    """The model's name; where it is vague, with the family and model numbers."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in info.read_text().splitlines())
    fields = {key.strip(): value.strip() for key, _, value in lines}
    numbers = f"family {fields.get('cpu family', '?')}, model {fields.get('model', '?')}"
    return f"{fields.get('model name', platform.machine())} ({numbers})"


def _commit() -> str:
    """The last commit that changed what is measured, with a + if files differ from it."""
    here, files = Path(__file__).parent, ":(glob)../nbvae/*.py"
    try:
        commit = subprocess.check_output(["git", "log", "-1", "--format=%h", "--", files], cwd=here)
        changed = subprocess.check_output(["git", "status", "--porcelain", "--", files], cwd=here)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.decode().strip() + ("+" if changed.strip() else "")


def peak_memory() -> float:
    """Read the most memory that this process has had resident at once, MB.

    A child's ``ru_maxrss`` starts at its parent's size on Linux; /proc counts this process alone.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
