"""Where an answer runs: in a process of its own, with limits, that ends with all that it started.

What the system offers is used. Everywhere: limits of memory and of the size of a file. On Linux,
where it allows it: a count of processes of its own, no network, other processes and their sockets
out of sight, a folder of its own with a limited size, and Landlock, which lets it write into that
folder only and read nothing but Python and its packages. `missing` says what a machine doesn't
offer.
"""

import contextlib
import ctypes
import os
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn

MEMORY = 2 * 2**30  # bytes, more than the chapter takes
FILE_SIZE = 100 * 2**20  # bytes
PROCESSES = 64  # and threads
ROOM = b"size=512m,nr_inodes=20000"  # of the folder; a file is an inode
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/sys", "/System", "/opt")
DEVICES = ("null", "zero", "full", "random", "urandom")
SHARED = Path("/dev/shm")  # what processes leave for each other
HIDDEN = (SHARED, Path("/run"), Path("/tmp/.X11-unix"))  # the latter two: sockets of services
# CLONE_NEWUSER, _NEWPID, _NEWNET, _NEWNS, _NEWIPC
OWN_WORLD = 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000 | 0x08000000
DIES_WITH_PARENT, NO_NEW_PRIVILEGES, DUMPABLE = 1, 38, 4  # of prctl
NO_SUID, NO_DEVICES = 2, 4  # of mount
READING = 0b1101  # execute, read a file, read a folder
OF_FILES = 0b1000000000000111  # of the rights, those that a file can have
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, on every processor


class Fenced:
    """A running process, and all that it starts."""

    def __init__(self, outer: int, inner: int, folder: Path) -> None:
        self._outer, self._inner, self._folder = outer, inner, folder

    def end(self) -> None:
        """End it; what has ended already stays unused until here, so no other process is hit."""
        for process in (self._inner, self._outer):
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(OSError):
                    kill(process, signal.SIGKILL)
        os.waitpid(self._outer, 0)
        remove(self._folder)


def start(work: Callable[[], object], pattern: Path, keep: list[int]) -> Fenced:
    """Fork, and do some work inside the fence.

    Args:
        work: what the process does; when it returns, the process ends.
        pattern: the folder of which it works in a copy, the only one that it may write to.
        keep: the only file descriptors that stay open.

    """
    folder = Path(tempfile.mkdtemp(dir=pattern.parent))
    read, write = os.pipe()
    outer = os.fork()
    if outer == 0:
        os.close(read)
        _outer(work, pattern, folder, keep, write)
    os.close(write)
    inner = int.from_bytes(os.read(read, 4), "big")
    os.close(read)
    return Fenced(outer, inner, folder)


def remove(folder: Path) -> None:
    """Remove a folder as far as that is possible: folders can be nested deeper than Python goes."""
    with contextlib.suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)


def hide() -> None:
    """Keep other processes of the same user from looking into this one (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DUMPABLE, 0, 0, 0, 0)


def missing() -> list[str]:
    """Return what this machine doesn't offer."""
    lacks = []
    if not _landlock_version():
        lacks.append("answers can read, and write to, whatever files you can (no Landlock)")
    if not _succeeds(lambda: _own_world() and _mount(SHARED)):
        lacks.append(
            "answers can see and end your processes, ask them for things, use the network, and "
            "fill the disk (no namespaces)"
        )
    return lacks


def _outer(
    work: Callable[[], object], pattern: Path, folder: Path, keep: list[int], write: int
) -> None:
    """Be the parent of the process that works: its number stays taken until this one is ended."""
    os.setsid()
    own = _own_world()
    inner = os.fork()
    if inner == 0:
        _inner(work, pattern, folder, keep, own)
    os.write(write, inner.to_bytes(4, "big"))
    os.closerange(0, 2**16)
    while True:
        signal.pause()


def _inner(
    work: Callable[[], object], pattern: Path, folder: Path, keep: list[int], own: bool
) -> NoReturn:
    """Work, and end whatever happens."""
    try:
        os.setsid()
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL, 0, 0, 0)
        _silence(keep)
        writable = [folder, *(_hide_others(folder) if own else ())]
        shutil.copytree(pattern, folder, dirs_exist_ok=True)
        _move_into(folder)
        _limit(own)
        _lock(writable)
        work()
    finally:
        os._exit(0)


def _silence(keep: list[int]) -> None:
    """Nothing to read from, nothing to be heard in, nothing else open."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    before = 3
    for one in sorted(keep):
        os.closerange(before, one)
        before = one + 1
    os.closerange(before, 2**16)


def _move_into(folder: Path) -> None:
    os.chdir(folder)
    for name in ("HOME", "TMPDIR", "PWD"):
        os.environ[name] = str(folder)
    tempfile.tempdir = None  # else the answer's would be where it was


def _limit(own: bool) -> None:
    """Limit memory, the size of files and, if they are counted by themselves, processes."""
    limits = {"CORE": 0, "FSIZE": FILE_SIZE}
    with contextlib.suppress(OSError):  # only Linux says how much there is
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits["AS"] = pages * resource.getpagesize() + MEMORY
    if own:
        limits["NPROC"] = PROCESSES
    for name, value in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    with contextlib.suppress(OSError):  # where memory runs out, this ends first
        Path("/proc/self/oom_score_adj").write_text("1000")


def _own_world() -> bool:
    """Give this process and its children processes, mounts and a network of their own.

    It stays the user that it was, and what it mounts nobody else sees. False if that isn't allowed.
    """
    if sys.platform != "linux":
        return False
    user, group = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None)
    libc.prctl(DUMPABLE, 1, 0, 0, 0)  # else its own entries in /proc are not its own
    try:
        if libc.unshare(OWN_WORLD):
            return False
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
        return True
    except OSError:
        return False
    finally:
        hide()


def _hide_others(folder: Path) -> list[Path]:
    """Put empty folders in place of those where others are met; return what may be written to."""
    needed = [place.resolve() for place in (folder, *_readable())]
    hidden = [p for p in HIDDEN if not any(n.is_relative_to(p.resolve()) for n in needed)]
    mounted = [place for place in [folder, *hidden] if _mount(place)]
    ctypes.CDLL(None).mount(b"proc", b"/proc", b"proc", NO_SUID | NO_DEVICES, None)
    return [place for place in mounted if place == SHARED]


def _mount(place: Path) -> bool:
    """Mount an empty folder that lives in memory, if the place exists."""
    libc = ctypes.CDLL(None)
    return libc.mount(b"tmpfs", bytes(place), b"tmpfs", NO_SUID | NO_DEVICES, ROOM) == 0


def _succeeds(attempt: Callable[[], bool]) -> bool:
    """Try something in a process that ends at once."""
    process = os.fork()
    if process == 0:
        os._exit(0 if attempt() else 1)
    return os.waitpid(process, 0)[1] == 0


def _landlock_version() -> int:
    """Return the version of Landlock; 0 or less where there is none."""
    if sys.platform != "linux":
        return 0
    return max(0, ctypes.CDLL(None).syscall(CREATE_RULESET, None, 0, 1))


def _lock(writable: Iterable[Path]) -> None:
    """Let this process, for good, write into some folders, and read Python and its packages.

    Source: docs.kernel.org/userspace-api/landlock.html.
    """
    version = _landlock_version()
    if not version:
        return
    rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)  # how many kinds of access it knows
    every = 2**rights - 1
    network, outside = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    attributes = (ctypes.c_uint64 * 3)(every, network, outside)
    size = 8 if version < 4 else 16 if version < 6 else 24
    libc = ctypes.CDLL(None)
    rules = libc.syscall(CREATE_RULESET, attributes, size, 0)
    for path in _readable():
        _allow(rules, path, READING)
    for name in DEVICES:
        _allow(rules, Path("/dev", name), every & OF_FILES)
    for folder in writable:
        _allow(rules, folder, every)
    libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    libc.syscall(RESTRICT_SELF, rules, 0)
    os.close(rules)


def _readable() -> Iterable[Path]:
    """Python, its packages, the system; of this project, the package alone."""
    package = sys.modules.get("nbvae")
    places = [*SYSTEM, sys.prefix, sys.base_prefix, *getattr(package, "__path__", ())]
    return [Path(place) for place in places if Path(place).exists()]


def _allow(rules: int, path: Path, access: int) -> None:
    """Add what may be done below a path."""

    class Below(ctypes.Structure):
        _pack_ = 1
        _layout_ = "ms"
        _fields_ = [("access", ctypes.c_uint64), ("parent", ctypes.c_int32)]

    place = os.open(path, os.O_PATH)
    below = Below(access, place)
    ctypes.CDLL(None).syscall(ADD_RULE, rules, 1, ctypes.byref(below), 0)
    os.close(place)
