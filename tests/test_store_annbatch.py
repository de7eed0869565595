"""A store is AnnData's own format: annbatch, scverse's loader, reads it in the package's order.

Two engines, one seed, the same minibatches. That the package reads with zarr alone costs next to
nothing: benchmarks/with_annbatch.py measures it.
"""

import numpy as np
import pytest
from anndata import AnnData
from scipy import sparse

from benchmarks.with_annbatch import by_annbatch, by_zarr
from nbvae import CellTable, write_store

pytest.importorskip("annbatch", reason="annbatch needs Python 3.12 or newer")
N_CELLS = 2500  # three blocks, the last one short


@pytest.mark.parametrize("held_out", [0, 250])
def test_same_seed_same_minibatches_in_both_engines(tmp_path, monkeypatch, held_out):
    """Else who trains with another loader would see the cells in another order."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.5, (N_CELLS, 7)).astype(np.float32)
    counts[:, 0] += 1
    store = write_store(tmp_path / "s.zarr", AnnData(sparse.csr_matrix(counts)))
    monkeypatch.setattr("nbvae.data.order.WINDOW", 1024)
    table, cells = CellTable.of(store), np.sort(rng.permutation(N_CELLS)[held_out:])
    order = table.shuffled(cells, 64, np.random.default_rng(3))
    both = zip(by_zarr(table, order, 64), by_annbatch(store.path, order, 64), strict=True)
    for start, (ours, theirs) in enumerate(both):
        np.testing.assert_array_equal(ours.toarray(), theirs.toarray())
        rows = order[64 * start : 64 * start + 64]
        np.testing.assert_array_equal(ours.toarray(), store[rows].X.toarray())
