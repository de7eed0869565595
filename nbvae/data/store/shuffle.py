"""Shuffling more cells than fit into memory: first into boxes, then box by box in order.

Each cell gets its place in a random order of all. A box takes the cells of a stretch of places; it
fits into memory, where they are put in order. So the order of all is exactly the random one, each
count is written twice and read once, and nothing is searched for on the disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import sparse

from nbvae.data.sound import from_parts

ENTRIES_IN_A_BOX = 2**23  # 70 MB on the disk, three times that in memory when it is put in order
PARTS = {"places": np.int64, "lengths": np.int32, "indices": np.int32, "data": np.int32}


class Boxes:
    """Files that take cells in any order and give them back in that of their places.

    Args:
        folder: for the files; it is there and empty.
        n_cells: of all boxes.
        n_entries: of all boxes, at most.
        n_genes: columns.

    """

    def __init__(self, folder: Path, n_cells: int, n_entries: int, n_genes: int) -> None:
        self.folder, self.n_genes = folder, n_genes
        self.n_boxes = min(n_cells, -(-n_entries // ENTRIES_IN_A_BOX)) or 1
        self.cells_in_a_box = -(-n_cells // self.n_boxes)

    def take(self, counts: sparse.csr_matrix, places: np.ndarray) -> None:
        """Take some cells, each with its place in the order of all."""
        boxes = places // self.cells_in_a_box
        for box in np.unique(boxes):
            rows = np.flatnonzero(boxes == box)
            some = counts[rows]
            lengths = np.diff(some.indptr)
            for part, values in zip(
                PARTS, (places[rows], lengths, some.indices, some.data), strict=True
            ):
                with self._file(box, part).open("ab") as file:
                    file.write(values.astype(PARTS[part]).tobytes())

    def in_order(self) -> Iterator[sparse.csr_matrix]:
        """Give all cells back, box by box; a box is removed when it was read."""
        for box in range(self.n_boxes):
            if not self._file(box, "places").exists():
                continue
            parts = [np.fromfile(self._file(box, part), dtype) for part, dtype in PARTS.items()]
            for part in PARTS:
                self._file(box, part).unlink()
            places, lengths, indices, data = parts
            indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
            counts = from_parts(data, indices, indptr, (len(places), self.n_genes))
            yield counts[np.argsort(places)]

    def _file(self, box: int, part: str) -> Path:
        return self.folder / f"{box}.{part}"
