"""Does ``map_query`` notice cells of a kind that was left out of training? By hand, on a file.

    python -m benchmarks.unseen_kinds cells.h5ad --labels cell_type --seeds 0 1 2

Of each kind in turn: train without it, on 80 % of the other cells; calibrate on a tenth; map the
last tenth and the kind. Printed: which share of each has p ≤ 0.05, the area under the ROC curve of
the misfit, and that of the distance to the ten nearest cells in latent space, for comparison.
"""

import argparse

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from nbvae import NBVAE, Trainer, evaluation, map_query

LEVEL = 0.05
FEWEST = 30  # cells of a kind


def measured(adata: AnnData, labels: np.ndarray, kind: str, seed: int) -> dict[str, object]:
    """Leave a kind out and map it."""
    others = np.random.default_rng(seed).permutation(np.flatnonzero(labels != kind))
    n = len(others)
    train, known, same = np.split(others, [8 * n // 10, 9 * n // 10])
    module = NBVAE.for_counts(adata[train].copy(), seed=seed)
    Trainer(seed=seed, device="cpu", progress=False).fit(module, adata[train].copy())
    query = np.concatenate([same, np.flatnonzero(labels == kind)])
    is_new = labels[query] == kind
    mapped = map_query(module, adata[query].copy(), adata[known].copy(), seed=seed)
    nearest = NearestNeighbors(n_neighbors=10).fit(
        evaluation.encode(module, adata[train].copy()).mean
    )
    far = nearest.kneighbors(mapped.latent.mean)[0].mean(axis=1)
    return {
        "kind": kind,
        "seed": seed,
        "new": int(is_new.sum()),
        "known_called": (mapped.p_value[~is_new] <= LEVEL).mean(),
        "new_called": (mapped.p_value[is_new] <= LEVEL).mean(),
        "auc_misfit": roc_auc_score(is_new, mapped.misfit),
        "auc_neighbours": roc_auc_score(is_new, far),
    }


def main() -> None:
    """Print a row for each kind and seed, and means."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("file")
    parser.add_argument("--labels", required=True, help="column of obs")
    parser.add_argument("--kinds", nargs="+", help="all with 30 cells, when left out")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    arguments = parser.parse_args()
    adata = anndata.read_h5ad(arguments.file)
    labels = adata.obs[arguments.labels].astype(str).to_numpy()
    sizes = pd.Series(labels).value_counts()
    kinds = arguments.kinds or sizes.index[sizes >= FEWEST].tolist()
    rows = [measured(adata, labels, kind, seed) for kind in kinds for seed in arguments.seeds]
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    print(table.drop(columns="seed").groupby("kind").mean().round(3).to_string())


if __name__ == "__main__":
    main()
