"""Read files in which single bytes are flipped, in forks of this process: a crash ends only one."""

import faulthandler
import gzip
import json
import os
import tempfile
import traceback
import warnings
from pathlib import Path

import numpy as np
from scipy import sparse
from written import COUNTS, folder_10x, h5ad, old_tenx, table, tenx

from nbvae import CountsError, datasets


def compressed(folder):
    table(sparse.csr_matrix(COUNTS)).write_h5ad(folder / "counts.h5ad", compression="gzip")
    return folder / "counts.h5ad"


def unpacked(folder):
    folder_10x(folder)
    packed = folder / "matrix.mtx.gz"
    (folder / "matrix.mtx").write_bytes(gzip.decompress(packed.read_bytes()))
    packed.unlink()
    return folder


KINDS = {  # what writes it, and the file in which bytes are flipped
    "h5ad": (h5ad, "counts.h5ad"),
    "h5ad dense": (lambda f: h5ad(f, form=np.array), "counts.h5ad"),
    "h5ad compressed": (compressed, "counts.h5ad"),
    "10x": (tenx, "tenx.h5"),
    "10x before 3": (old_tenx, "old.h5"),
    "mtx.gz": (folder_10x, "matrix.mtx.gz"),
    "mtx": (unpacked, "matrix.mtx"),
}


def outcome(path):
    """Return "same", "other" or "refused"; anything else is printed as it is."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            adata = datasets.read_counts(path)
    except CountsError:
        return "refused"
    values = adata.X.data
    if not (values == np.rint(values)).all() or values.min() < 0 or not np.isfinite(values).all():
        return "not counts"
    if adata.shape == COUNTS.shape and (adata.X.toarray() == COUNTS).all():
        return "same"
    return "other"


def attempts(kind, seed, times, first):
    """Flip one byte at a time, from the attempt ``first`` on; yield its number and what came of it.

    None comes before the outcome: it may be a crash.
    """
    write, name = KINDS[kind]
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = write(folder)
        whole = (folder / name).read_bytes()
        for number in range(times):
            flipped = bytearray(whole)
            flipped[rng.integers(len(whole))] ^= rng.integers(1, 256)
            if number < first:
                continue
            (folder / name).write_bytes(flipped)
            yield number, None
            try:
                yield number, outcome(path)
            except MemoryError:
                yield number, "memory"  # the flipped byte was one of a size


def surviving(kind, seed, times):
    """Make all attempts in forks of this process: one that crashes is followed by another.

    Returns:
        What came of each attempt, by its number; what was said on stderr where it was a crash.

    """
    found, crashes, first = {}, {}, 0
    while first < times:
        told, words = _in_a_fork(kind, seed, times, first)
        found |= told
        last = max(told)
        if found[last] is None:
            del found[last]
            crashes[f"{kind} {last}"] = words
        elif last + 1 < times:
            raise RuntimeError(f"ended after attempt {last}: {words}")
        first = last + 1
    return found, crashes


def _in_a_fork(kind, seed, times, first):
    read, write = os.pipe()
    with tempfile.TemporaryFile("w+") as said, open(read) as lines:
        if (child := os.fork()) == 0:
            _child(kind, seed, times, first, write, said)
        os.close(write)
        told = dict(json.loads(line) for line in lines)
        os.waitpid(child, 0)
        said.seek(0)
        return told, said.read()


def _child(kind, seed, times, first, write, said):
    """Write each attempt into a pipe at once, and never return."""
    try:
        faulthandler.enable(said)
        for attempt in attempts(kind, seed, times, first):
            os.write(write, f"{json.dumps(attempt)}\n".encode())
    except BaseException:  # what should be a CountsError
        traceback.print_exc(file=said)
        said.flush()
    finally:
        os._exit(0)
