"""Where results with a row for each cell go: into memory, or into a file while they are made."""

from pathlib import Path

import numpy as np
from anndata import AnnData

from nbvae.data.store.cells import CellStore


def room_for(
    shape: tuple[int, ...],
    out: str | Path | None = None,
    dtype: np.dtype | type = np.float32,
    *,
    cells: AnnData | None = None,
) -> np.ndarray:
    """Make room for numbers; in a file, numpy's ``.npy``, of which few are in memory.

    Args:
        shape: of the result.
        out: the file, which is written anew; None: memory.
        dtype: of the numbers.
        cells: what the result is of, where it has a number for each gene of each cell.

    Raises:
        ValueError: it would be in memory, but the counts of these cells are not.
        FileNotFoundError: the folder is missing.

    """
    if out is not None:
        if not Path(out).expanduser().parent.is_dir():
            raise FileNotFoundError(f"There is no folder for {str(out)!r}: make it first.")
        path = Path(out).expanduser()
        return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if isinstance(cells, CellStore):
        raise ValueError(
            f"The result has {' × '.join(f'{n:,}' for n in shape)} numbers, and the counts are on "
            "disk since they are many. Ask for some cells, store[:1000], or piece by piece: "
            "for cells in store.pieces(): …; denoised also for some genes, or into a file, out=."
        )
    return np.empty(shape, dtype=dtype)
