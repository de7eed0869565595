"""Which rows of a 10x table are genes: antibodies, guides and hashtags are counted alongside."""

import re
import warnings

import numpy as np
from anndata import AnnData

from nbvae._messages import note, shown
from nbvae.data.counts import CountsError

GENES = {"geneexpression", "gene", "genes", "gex", "rna", "mrna", ""}
OTHERS = {
    "antibodycapture",
    "antibody",
    "adt",
    "antigencapture",
    "cellhashing",
    "crisprguidecapture",
    "custom",
    "hashtag",
    "hto",
    "multiplexingcapture",
    "peaks",
    "proteinexpression",
}


def genes_among(adata: AnnData) -> AnnData:
    """Keep the genes; say what is left out.

    Rows are recognised by ``var["feature_types"]``, whatever its case and spaces; without this
    column all are genes. If none is called gene expression, what is not known to be something else
    is kept, and so is everything if it is of one kind: a table is never emptied.

    Raises:
        CountsError: several kinds, none of them genes.

    """
    if "feature_types" not in adata.var:
        return adata
    kinds = adata.var["feature_types"].to_numpy().astype(str)
    there, kind_of, numbers = np.unique(kinds, return_inverse=True, return_counts=True)
    names = there.tolist()
    kept = _kept(there)
    if not kept.any():
        raise CountsError(
            f"No feature is called 'Gene Expression'; the kinds are: {shown(names)}. Read it with "
            "scanpy (sc.read_10x_h5 or sc.read_10x_mtx, gex_only=False), and keep the genes."
        )
    if kept.all():
        return adata
    left_out = [
        f"{n:,} {kind!r}" for kind, n in zip(there[~kept].tolist(), numbers[~kept], strict=True)
    ]
    note(f"Left out, since they are not genes: {', '.join(left_out)}.")
    return adata[:, kept[kind_of]].copy()


def _kept(kinds: np.ndarray) -> np.ndarray:
    """Tell which of the kinds are genes, (n_kinds,)."""
    plain = [re.sub("[^a-z]", "", kind.lower()) for kind in kinds]
    called_genes = np.array([kind in GENES for kind in plain], dtype=bool)
    if called_genes.any():
        return called_genes
    not_known = np.array([kind not in OTHERS for kind in plain], dtype=bool)
    kept = not_known if not_known.any() or len(kinds) > 1 else np.ones(1, dtype=bool)
    if kept.any():
        warnings.warn(
            "No feature is called 'Gene Expression'; taken for genes: "
            f"{shown(kinds[kept].tolist())}.",
            stacklevel=2,
        )
    return kept
