"""Writing a store: look at all sources, agree on the genes, check and shuffle, write."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse
from tqdm import tqdm

from nbvae._arguments import whole_number
from nbvae.data.counts import CountsError, refuse_empty_cells
from nbvae.data.store.agree import common_genes, common_obs
from nbvae.data.store.cells import ABOUT, FORMAT, CellStore, open_store
from nbvae.data.store.engine import Appender, new_array, new_group, the_zarr, write_table
from nbvae.data.store.shuffle import Boxes
from nbvae.data.store.sources import Source, open_source
from nbvae.data.sums import GeneSums


def write_store(
    path: str | Path,
    sources: str | Path | AnnData | Sequence[str | Path | AnnData],
    *,
    layer: str | None = None,
    genome: str | None = None,
    genes: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> CellStore:
    """Write raw counts into one zarr store, checked and shuffled, to train from disk.

    ``.h5ad``, ``.zarr`` and Cell Ranger's ``.h5`` (since version 3) are read in pieces; a 10x
    folder, or an older ``.h5``, is read whole. While it is written, the disk needs room for twice
    its size. The store appears when it is complete: an interrupted write leaves none.
    It is in AnnData's own format, so ``anndata.read_zarr`` and scverse's annbatch can also read it.

    Args:
        path: of the new store, a folder such as "atlas.zarr".
        sources: what ``read_counts`` takes, one or several.
        layer: the layer that holds the counts in all of them; ``X`` when left out.
        genome: for 10x ``.h5`` files with several: the one to read.
        genes: the names of the genes to keep, each of which every source has; when left out, all
            genes that every source has. A gene that a source did not measure is left out, and
            one line says how many: it is not a gene without counts.
        seed: of the order of the cells.
        progress: whether to show a bar; None: in a terminal, not in a notebook or a log.

    Returns:
        The store, opened. ``obs`` has the columns that all sources have; with several sources also
        "source", the name of the file. Cells' names that occur twice get "-1", "-2", … appended.

    Raises:
        FileExistsError: there is something at ``path``.
        FileNotFoundError, PermissionError, KeyError, TypeError: as in ``read_counts``.
        CountsError: as in ``read_counts``; which source and which rows. No gene is in all sources.
        ImportError: the package zarr is not there; how to install it.

    """
    the_zarr()
    seed = whole_number("seed", seed, least=0)
    target = _new(path)
    given = [sources] if isinstance(sources, str | Path | AnnData) else list(sources)
    opened = [open_source(s, i, layer=layer, genome=genome) for i, s in enumerate(given)]
    if not sum(len(source.obs) for source in opened):
        raise CountsError("There are no cells in the sources.")
    var = common_genes(opened, genes)
    with _complete_or_not_at_all(target) as part:
        _write(part, opened, var, seed, progress)
    return open_store(target)


def _new(path: str | Path) -> Path:
    target = Path(path).expanduser()
    if target.exists():
        raise FileExistsError(f"There is already {str(path)!r}: name another path, or delete it.")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(target.parent)!r}: make it first.")
    return target


@contextmanager
def _complete_or_not_at_all(target: Path) -> Iterator[Path]:
    """Give a folder beside the target, and move it there in the end."""
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        yield part
        os.rename(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(
    part: Path, sources: list[Source], var: pd.DataFrame, seed: int, progress: bool | None
) -> None:
    group = new_group(part)
    obs = common_obs(sources)
    order = np.random.default_rng(seed).permutation(len(obs))  # which cell comes where
    boxes_at = part / "boxes"
    boxes_at.mkdir()
    boxes = Boxes(boxes_at, len(obs), sum(s.n_entries for s in sources), len(var))
    hidden = None if progress is None else not progress
    with tqdm(total=2 * len(obs), desc="Writing", unit="cell", disable=hidden) as bar:
        sums, n_entries, largest = _scatter(sources, var, np.argsort(order), boxes, bar)
        fingerprint = _gather(group, boxes, var, n_entries, largest, len(obs), bar)
    boxes_at.rmdir()
    obs = obs.set_axis(make_index_unique(obs.index), axis="index").iloc[order]
    write_table(group, "obs", obs)
    write_table(group, "var", var)
    about = {
        "format": FORMAT,
        "seed": seed,
        "fingerprint": fingerprint,
        "largest": largest,
        "sources": np.array([source.name for source in sources], dtype=object),
        "sums": sums._asdict(),
    }
    write_table(group, "uns", {ABOUT: about})  # last: what lacks it is not complete


def _scatter(
    sources: list[Source], var: pd.DataFrame, places: np.ndarray, boxes: Boxes, bar: tqdm
) -> tuple[GeneSums, int, int]:
    """Read, check and count all cells, and throw them into boxes.

    Returns:
        The sums of the counts, how many are above zero, and the largest.

    """
    sums, n_entries, largest, before = GeneSums.of(sparse.csr_matrix((0, len(var)))), 0, 0, 0
    for source in sources:
        columns = source.var.index.get_indexer(var.index)
        for start, counts in source.pieces():
            here = slice(before + start, before + start + counts.shape[0])
            if len(columns) != len(source.var) or (np.diff(columns) != 1).any():
                counts = counts[:, columns].sorted_indices()
                cells = AnnData(obs=source.obs.iloc[start : start + counts.shape[0]])
                refuse_empty_cells(cells, counts, f"In the genes that are kept of {source.name}")
            boxes.take(counts, places[here])
            sums = sums.plus(GeneSums.of(counts))
            n_entries, largest = n_entries + counts.nnz, max(largest, int(counts.data.max()))
            bar.update(counts.shape[0])
        before += len(source.obs)
    return sums, n_entries, largest


def _gather(
    group: object,
    boxes: Boxes,
    var: pd.DataFrame,
    n_entries: int,
    largest: int,
    n_cells: int,
    bar: tqdm,
) -> str:
    """Write the cells in their new order. Returns a digest of all that was written."""
    matrix = group.create_group("X")  # type: ignore[attr-defined]
    shape = [n_cells, len(var)]
    matrix.attrs.update(
        {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": shape}
    )
    kind = next(t for t in (np.uint8, np.uint16, np.uint32) if largest <= np.iinfo(t).max)
    data = Appender(new_array(matrix, "data", n_entries, kind, 0))
    indices = Appender(new_array(matrix, "indices", n_entries, np.int32, -1))
    digests, lengths = [hashlib.sha256() for _ in range(3)], []
    for counts in boxes.in_order():
        data.append(counts.data)
        indices.append(counts.indices)
        lengths.append(np.diff(counts.indptr))
        parts = (lengths[-1], counts.indices, counts.data)
        for digest, values in zip(digests, parts, strict=True):
            digest.update(np.ascontiguousarray(values, dtype=np.int32).data)
        bar.update(counts.shape[0])
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
    ends = Appender(new_array(matrix, "indptr", n_cells + 1, np.int64, -1))
    ends.append(indptr)
    for appender in (data, indices, ends):
        appender.close()
    return hashlib.sha256("".join(d.hexdigest() for d in digests).encode()).hexdigest()
