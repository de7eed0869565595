"""Writing a store: look at all sources, agree on the genes, check and shuffle, write."""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from scipy import sparse
from tqdm import tqdm

from nbvae._arguments import whole_number
from nbvae._messages import note
from nbvae.data.counts import CountsError, refuse_empty_cells
from nbvae.data.store.agree import common_genes, common_obs, refuse_names
from nbvae.data.store.cells import ABOUT, FORMAT, CellStore, open_store
from nbvae.data.store.engine import (
    Appender,
    digest_of_tables,
    new_array,
    new_group,
    the_zarr,
    write_table,
)
from nbvae.data.store.shuffle import Boxes
from nbvae.data.store.sources import Source, names_of, open_source
from nbvae.data.sums import GeneSums
from nbvae.files import room_on_disk

PART = ".part"  # the end of the name of a store that is not complete


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
    Under ``torchrun`` every process would write one: write it before, with a script of its own.

    Args:
        path: of the new store, a folder such as "atlas.zarr".
        sources: what ``read_counts`` takes, one or several.
        layer: the layer that holds the counts in all of them; ``X`` when left out.
        genome: for 10x ``.h5`` files with several: the one to read.
        genes: the names of the genes to keep, each of which every source has; when left out, all
            genes that every source has. A gene that a source did not measure is left out, and
            one line says how many: it is not a gene without counts. So is a name that may be
            another gene in each source: its ``gene_ids`` differ, or it occurs twice.
        seed: of the order of the cells.
        progress: whether to show a bar; None: in a terminal, not in a notebook or a log.

    Returns:
        The store, opened. ``obs`` has the columns that all sources have; with several sources also
        "source", the name of the file, with its folders where two files have one name. Cells' names
        that occur twice get "-1", "-2", … appended.

    Raises:
        FileExistsError: there is something at ``path``.
        OSError: the disk is full.
        FileNotFoundError, PermissionError, KeyError, TypeError: as in ``read_counts``.
        CountsError: as in ``read_counts``; which source and which rows. No gene is in all sources,
            a source has no cells, or is named twice.
        ImportError: the package zarr is not there; how to install it.

    """
    the_zarr()
    seed = whole_number("seed", seed, least=0)
    target = _new(path)
    opened = _opened(sources, layer, genome)
    var = common_genes(opened, genes)
    with _complete_or_not_at_all(target) as part, room_on_disk(target):
        _write(part, opened, var, seed, progress)
    return open_store(target)


def _new(path: str | Path) -> Path:
    if not isinstance(path, str | Path):
        raise TypeError(f"path is that of a new folder, such as 'atlas.zarr', not {path!r}.")
    target = Path(path).expanduser()
    if target.exists():
        raise _there_already(target)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {str(target.parent)!r}: make it first.")
    for left in target.parent.glob(f"{glob.escape(target.name)}.*{PART}"):
        note(f"{left.name!r} is what an interrupted write left, or one that still runs: delete it.")
    return target


def _there_already(target: Path) -> FileExistsError:
    return FileExistsError(f"There is already {str(target)!r}: name another path, or delete it.")


def _opened(sources: object, layer: str | None, genome: str | None) -> list[Source]:
    """Look at all sources, and refuse what would be found after hours only."""
    if sources is None:
        raise TypeError("sources are paths of files with counts, or AnnData, not None.")
    given: list[Any] = (
        [sources] if isinstance(sources, str | Path | AnnData) else list(sources)  # type: ignore[call-overload]
    )
    if not given:
        raise CountsError("There are no sources.")
    names = names_of(given)
    opened = [
        open_source(source, name, layer=layer, genome=genome)
        for source, name in zip(given, names, strict=True)
    ]
    for source in opened:
        if not len(source.obs):
            raise CountsError(f"{source.name} has no cells: leave it out of sources.")
        refuse_names(source)
    return opened


@contextmanager
def _complete_or_not_at_all(target: Path) -> Iterator[Path]:
    """Give a folder beside the target, and move it there in the end."""
    part = target.with_name(f"{target.name}.{os.getpid()}{PART}")
    shutil.rmtree(part, ignore_errors=True)
    try:
        yield part
        if target.exists():  # since then
            raise _there_already(target)
        os.rename(part, target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write(
    part: Path, sources: list[Source], var: pd.DataFrame, seed: int, progress: bool | None
) -> None:
    group = new_group(part)
    obs = common_obs(sources)
    names = make_index_unique(obs.index)
    order = np.random.default_rng(seed).permutation(len(obs))  # which cell comes where
    _write_known(group, obs.set_axis(names, axis="index").iloc[order], var)
    boxes_at = part / "boxes"
    boxes_at.mkdir()
    boxes = Boxes(boxes_at, len(obs), sum(s.n_entries for s in sources), len(var))
    hidden = None if progress is None else not progress
    with tqdm(total=2 * len(obs), desc="Writing", unit="cell", disable=hidden) as bar:
        sums, n_entries, largest = _scatter(sources, var, np.argsort(order), boxes, bar)
        fingerprint = _gather(group, boxes, var, n_entries, largest, len(obs), bar)
    boxes_at.rmdir()
    about = {
        "seed": seed,
        "fingerprint": fingerprint,
        "largest": largest,
        "sources": np.array([source.name for source in sources], dtype=object),
        "sums": sums._asdict(),
    }
    write_table(group, "uns", {ABOUT: about})
    written = {"format": FORMAT, "digest": digest_of_tables(part)}
    group.attrs[ABOUT] = written  # last: what lacks it is not complete


def _write_known(group: object, obs: pd.DataFrame, var: pd.DataFrame) -> None:
    """Write what is known of cells and genes, before hours go into the counts.

    Raises:
        CountsError: AnnData can't write it.

    """
    for name, table in (("obs", obs), ("var", var)):
        try:
            write_table(group, name, table)
        except OSError:
            raise
        except Exception as error:  # anndata's, which are not public
            raise CountsError(
                f"{name} can't be written: {error}. Remove such columns, or make them words: "
                f"adata.{name}[column] = adata.{name}[column].astype(str)."
            ) from error


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
                place = (
                    f"In the genes that are kept of {source.name}, rows from {start:,} on (here 0)"
                )
                refuse_empty_cells(cells, counts, place)
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
