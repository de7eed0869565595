"""The data sets by name, kept on disk between runs, and the cells that no rival ever sees."""

import re
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from anndata import AnnData, read_h5ad

import nbvae
from benchmarks import generated
from nbvae import datasets
from nbvae.split import split_cells

KEPT = Path(__file__).parents[1] / "_build" / "benchmarks"
TEST_FRACTION = 0.1
MOST_TEST_CELLS = 2000  # so that evaluating the largest set does not take longer than training


class Split(NamedTuple):
    """What the rivals get, and what they are judged by."""

    train: AnnData
    test: AnnData


def load(name: str) -> AnnData:
    """Load counts: "sample", "3000x2000" (generated, cells × genes) or the path of a file."""
    if name == "sample":
        return datasets.pbmc68k_sample()
    size = re.fullmatch(r"(\d+)x(\d+)", name)
    if size:
        return _generated(int(size[1]), int(size[2]))
    return datasets.read_counts(name)


def _generated(n_cells: int, n_genes: int) -> AnnData:
    """Generate once; the file's name tells a changed generator, or model, from an older one."""
    sources = [Path(generated.__file__), *sorted(Path(nbvae.__file__).parent.glob("*.py"))]
    recipe = b"".join(source.read_bytes() for source in sources)
    path = KEPT / f"{n_cells}x{n_genes}-{zlib.crc32(recipe):08x}.h5ad"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        generated.blood(n_cells, n_genes).write_h5ad(part)
        part.rename(path)
    return read_h5ad(path)


def split(adata: AnnData, seed: int) -> Split:
    """Put a tenth of the cells aside, at most 2,000, of each cell type its share."""
    fraction = min(TEST_FRACTION, MOST_TEST_CELLS / adata.n_obs)
    by = "cell_type" if "cell_type" in adata.obs else None
    train, test = split_cells(adata, fraction, seed, by)
    return Split(adata[train].copy(), adata[test].copy())


def facts(adata: AnnData) -> dict[str, object]:
    """Say what was measured on: size, share of zeros, a checksum of the counts."""
    counts = adata.X
    return {
        "n_cells": adata.n_obs,
        "n_genes": adata.n_vars,
        "zeros": round(1 - counts.nnz / (adata.n_obs * adata.n_vars), 4),
        "checksum": zlib.crc32(np.ascontiguousarray(counts.data, dtype=np.float32)),
    }
