"""The living figures of chapter 12: quality control, and the choice of genes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from nbvae.teaching.living.counts import whole
from nbvae.teaching.living.figure import LivingFigure, packed

TICKS = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000)


def quality_control(
    library: np.ndarray,
    detected: np.ndarray,
    mito: np.ndarray,
    kinds: Sequence[str],
    *,
    bad: Sequence[str] = (),
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader cut rows off by three numbers, and see which kinds of cells pay for it.

    Args:
        library: molecules of each row, (n,).
        detected: genes with a count, (n,).
        mito: share of the mitochondrion's genes, between 0 and 1, (n,).
        kinds: what each row is, (n,).
        bad: those of the kinds that should go; the reader is not told at first.
        still: the picture for where scripts do not run.

    """
    good = sorted(set(kinds) - set(bad), key=lambda kind: (-list(kinds).count(kind), kind))
    names = [*good, *bad]
    ticks = [tick for tick in TICKS if library.min() <= tick <= library.max()]
    values = {
        "library": whole(library),
        "detected": whole(detected),
        "mito": packed(mito),
        "kind": "".join(chr(ord("A") + names.index(kind)) for kind in kinds),
        "kinds": names,
        "bad": len(bad),
        "ticks": [tick for i, tick in enumerate(ticks) if len(ticks) < 6 or i % 2],
    }
    return LivingFigure("quality_control", "Cut-offs on quality", values, still=still)


def gene_choice(
    names: Sequence[str],
    mean: np.ndarray,
    scores: Mapping[str, np.ndarray],
    markers: Sequence[str],
    *,
    start: int,
    agreement: Mapping[int, Sequence[float]] | None = None,
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader choose how many genes to keep, and by which score.

    Args:
        names: of the genes, (G,).
        mean: their mean counts, (G,).
        scores: for each way of ranking, by name, a number for each gene, (G,); the highest come
            first. The first way is drawn.
        markers: genes whose ranks to show, by name.
        start: how many genes to keep to begin with.
        agreement: for some numbers of genes, what comes of each way of ranking: the share of cells
            whose neighbours give them the right label.
        still: the picture for where scripts do not run.

    """
    values = {
        "names": list(names),
        "mean": packed(mean),
        "ways": [[way, packed(score)] for way, score in scores.items()],
        "markers": [list(names).index(marker) for marker in markers],
        "start": start,
    }
    trained = {
        "agreement": {
            str(n): [round(float(share), 4) for share in shares]
            for n, shares in (agreement or {}).items()
        }
    }
    return LivingFigure("gene_choice", "How many genes", values, trained=trained, still=still)
