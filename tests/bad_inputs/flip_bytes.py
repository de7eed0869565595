"""Read files in which single bytes are flipped, in a process of its own: a crash ends only this.

    python tests/bad_inputs/flip_bytes.py SEED TIMES [SKIPPED …]

prints for each attempt the kind of file, the number of the attempt and what came of it.
"""

import gzip
import sys
import tempfile
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


def attempts(kind, seed, times, skipped):
    """Flip one byte at a time; those that crash are skipped in the next process."""
    write, name = KINDS[kind]
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        path = write(folder)
        whole = (folder / name).read_bytes()
        for number in range(times):
            flipped = bytearray(whole)
            flipped[rng.integers(len(whole))] ^= rng.integers(1, 256)
            if f"{kind} {number}" in skipped:
                continue
            (folder / name).write_bytes(flipped)
            print(f"{kind} {number}", end=": ", flush=True)
            try:
                print(outcome(path), flush=True)
            except MemoryError:
                print("memory", flush=True)  # the flipped byte was one of a size


if __name__ == "__main__":
    for kind in KINDS:
        attempts(kind, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
