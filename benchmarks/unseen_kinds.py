"""Does ``map_query`` notice a kind that was left out of training, and place the others?

`python -m benchmarks.unseen_kinds` writes results/unseen_kinds.csv and .md, on the sample. Another
file: `python -m benchmarks.unseen_kinds cells.h5ad --labels cell_type --seeds 0 1 2` prints.

Of each kind with 30 cells in turn: train without it, on 80 % of the other cells; calibrate on a
tenth; map the last tenth and the kind.

- new, known: the share of the kind, and of the last tenth, with p ≤ 0.05. Of the latter it should
  be one in twenty.
- AUC: the chance that a cell of the kind has a larger misfit than one of the last tenth; and with
  the distance to the ten nearest training cells in latent space instead of the misfit.
- right: labels of the last tenth, by a vote of 15 training cells.
"""

import anndata
import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from benchmarks import results
from benchmarks.experiment import command_line
from benchmarks.rivals import trained
from nbvae import datasets, evaluation, map_query

LEVEL, SEEDS = 0.05, 5
FEWEST = 30  # cells of a kind
STORED = results.FOLDER / "unseen_kinds.csv"


def measured(adata: AnnData, labels: np.ndarray, kind: str, seed: int) -> dict[str, object]:
    """Leave a kind out and map it."""
    others = np.random.default_rng(seed).permutation(np.flatnonzero(labels != kind))
    n = len(others)
    train, known, same = np.split(others, [8 * n // 10, 9 * n // 10])
    cells, query = adata[train].copy(), np.concatenate([same, np.flatnonzero(labels == kind)])
    module, is_new = trained(cells, seed), labels[query] == kind
    mapped = map_query(module, adata[query].copy(), adata[known].copy(), seed=seed)
    places, latent = evaluation.encode(module, cells).mean, mapped.latent.mean
    far = NearestNeighbors(n_neighbors=10).fit(places).kneighbors(latent)[0].mean(axis=1)
    vote = KNeighborsClassifier(15).fit(places, labels[train])
    return {
        "kind": kind,
        "seed": seed,
        "cells": int(is_new.sum()),
        "new": (mapped.p_value[is_new] <= LEVEL).mean(),
        "known": (mapped.p_value[~is_new] <= LEVEL).mean(),
        "AUC, misfit": roc_auc_score(is_new, mapped.misfit),
        "AUC, distance": roc_auc_score(is_new, far),
        "right": (vote.predict(latent[~is_new]) == labels[same]).mean(),
    }


def runs_of(adata: AnnData, key: str, kinds: list[str], seeds: list[int]) -> pd.DataFrame:
    """Measure each kind, or all with enough cells, with each seed."""
    labels = adata.obs[key].astype(str).to_numpy()
    sizes = pd.Series(labels).value_counts()
    kinds = kinds or sizes.index[sizes >= FEWEST].tolist()
    rows = [measured(adata, labels, kind, seed) for kind in kinds for seed in seeds]
    return pd.DataFrame(rows).round(4)


def report(runs: pd.DataFrame) -> str:
    """Tabulate means over seeds and their range, for each kind."""
    how = {"cells": "first", **dict.fromkeys(runs.columns[3:], results.ranged(results.hundredths))}
    table = runs.groupby("kind", sort=False).agg(how).reset_index(names="left out")
    means = f"Means over {runs['seed'].nunique()} seeds, and their range."
    head = "# Kinds that were left out", results.about(__doc__)
    return results.document(*head, means, results.markdown(table))


def main() -> None:
    """Measure the sample and store it, or a file and print it."""
    parser = command_line(__doc__)
    parser.add_argument("file", nargs="?", help="the sample, when left out")
    parser.add_argument("--labels", default="cell_type", help="column of obs")
    parser.add_argument("--kinds", nargs="+", default=[], help="all with 30 cells, when left out")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(SEEDS)))
    given = parser.parse_args()
    torch.set_num_threads(1)
    adata = anndata.read_h5ad(given.file) if given.file else datasets.pbmc68k_sample()
    runs = runs_of(adata, given.labels, given.kinds, given.seeds)
    print(report(runs))
    if given.file is None and not given.kinds:
        results.write(STORED, runs, report(runs))


if __name__ == "__main__":
    main()
