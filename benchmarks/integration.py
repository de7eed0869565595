"""How well do rivals put two experiments together: `python -m benchmarks.integration [RIVAL…]`.

Names of rivals run these alone; results/integration.csv keeps the others' scores.

The 700 cells of the sample are dealt to two experiments, and B keeps each molecule of gene g with
probability κ_g, between 0.2 and 1 (chapter 10). So the truth is known. Four deals: both experiments
have the same cells; B lacks the cells labelled CD19+ B; A has 0.15 of the myeloid cells and 0.85 of
the others; A has all others and B all myeloid cells, so that nothing is shared. Each seed deals,
thins and trains anew. Embeddings have ten dimensions. The rivals, by their defaults:

- PCA of log1p of counts scaled to 10,000 or to the median library (scanpy's default), and of
  analytic Pearson residuals (Lause et al. 2021; scanpy's): nothing is corrected.
- centred: PCA at the median, after each experiment's mean is taken off each gene.
- Harmony (Korsunsky et al. 2019), harmonypy 2.1.0, on that PCA, and on 30 components.
- MNN (Haghverdi et al. 2018): mutual nearest neighbours, written here after the paper, since
  mnnpy 0.1.9.5 can't be built with Python 3.11. Cosine-normalised values, k = 20, kernel width 0.1.
- scVI: scvi-tools with `batch_key` and the NB likelihood, 400 epochs.
- nbvae: told (the decoder knows the experiment); both told (the encoder, too). By default training
  is some 50 epochs, and the weights with the best held-out ELBO are kept. With
  `holdout_fraction=0` the last ones are: "to the end" of as many epochs, or of 180.

The scores, on 15 nearest neighbours:

- own experiment: the share of neighbours from it, less what chance gives within kinds. 0 is best.
- own kind: the share of neighbours with a cell's label.
- transfer: labels of one experiment given to the cells of the other by a vote of neighbours, mean
  over kinds that both have, and over both ways. That sees biology across experiments.
- lineage: the share of neighbours of a cell's lineage, myeloid or not; the mean of both lineages.
- strangers: of the neighbours of CD19+ B cells, those from B, which has no such cells.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scanpy as sc
import torch
from anndata import AnnData
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from benchmarks import data, results
from benchmarks.rivals import trained, trained_scvi
from nbvae import NBVAE, datasets, evaluation

SEEDS, NEIGHBOURS, COMPONENTS = 5, 15, 10
MYELOID = ("Dendritic", "CD14+ Monocyte")
ISOLATED = "CD19+ B"
DEALS = {"same cells": 0.5, "one kind missing": 0.5, "uneven": 0.15, "nothing shared": 0.0}
STORED = results.FOLDER / "integration.csv"


class World(NamedTuple):
    """Cells of two experiments, and what is true of them."""

    counts: np.ndarray  # (N, G)
    batch: np.ndarray  # (N,), 0 for A and 1 for B
    kinds: np.ndarray  # (N,), labels
    seed: int

    def table(self) -> AnnData:
        obs = pd.DataFrame({"batch": np.array(["A", "B"])[self.batch], "kind": self.kinds})
        return data.table_of(self.counts, obs.set_axis([f"cell-{i}" for i in obs.index]))


Embed = Callable[[World], np.ndarray]  # (N, n)


def dealt(deal: str, seed: int) -> World:
    """Deal the sample's cells to A and B, and thin those of B gene by gene."""
    sample, rng = datasets.pbmc68k_sample(), np.random.default_rng([11, seed])
    counts, kinds = sample.X.toarray().astype(int), sample.obs["cell_type"].to_numpy().astype(str)
    thinned = rng.binomial(counts, 0.2 ** rng.uniform(size=sample.n_vars))
    place = np.empty(len(kinds))  # of a cell among those of its kind, from 0 to 1
    for kind in np.unique(kinds):
        rows = rng.permutation(np.flatnonzero(kinds == kind))
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    of_a = np.where(np.isin(kinds, MYELOID), DEALS[deal], 1 - DEALS[deal])
    batch = (place > of_a).astype(int)
    counts = np.where(batch[:, None] == 1, thinned, counts)
    keep = counts.sum(axis=1) > 0
    if deal == "one kind missing":
        keep &= (kinds != ISOLATED) | (batch == 0)
    return World(counts[keep], batch[keep], kinds[keep], seed)


def principal(values: np.ndarray, n: int = COMPONENTS) -> np.ndarray:
    return PCA(n, random_state=0).fit_transform(values)


def pearson(world: World) -> np.ndarray:
    table = world.table()
    sc.experimental.pp.normalize_pearson_residuals(table)
    return principal(np.asarray(table.X))


def centred(world: World) -> np.ndarray:
    values = data.logged(world.counts)
    for j in (0, 1):
        values[world.batch == j] -= values[world.batch == j].mean(axis=0)
    return principal(values)


def harmony(n: int) -> Embed:
    def corrected(world: World) -> np.ndarray:
        import harmonypy  # only this benchmark needs it

        points, cells = principal(data.logged(world.counts), n), world.table().obs
        seed = {"random_state": world.seed}
        found = harmonypy.run_harmony(points, cells, "batch", verbose=False, **seed).Z_corr
        return found if found.shape == points.shape else found.T

    return corrected


def mnn(world: World, k: int = 20, width: float = 0.1) -> np.ndarray:
    """Move B by the differences of mutual nearest neighbours, smoothed over cells of B."""
    values = data.logged(world.counts)
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    first, second = values[world.batch == 0], values[world.batch == 1]
    distance = cdist(first, second)
    near_b = distance.argsort(axis=1).argsort(axis=1) < k  # B's cells near each of A
    near_a = distance.argsort(axis=0).argsort(axis=0) < k
    a, b = np.nonzero(near_b & near_a)
    moves = np.zeros_like(second)  # of each cell of B, the mean over its pairs
    np.add.at(moves, b, first[a] - second[b])
    paired = np.unique(b)
    moves = moves[paired] / np.bincount(b)[paired, None]
    weights = np.exp(-(cdist(second, second[paired]) ** 2) / width)
    density = np.exp(-(cdist(second[paired], second[paired]) ** 2) / width).sum(axis=1)
    weights /= density  # else crowded places would decide for all
    values[world.batch == 1] += weights @ moves / weights.sum(axis=1, keepdims=True)
    return principal(values)


def scvi_tools(world: World) -> np.ndarray:
    model = trained_scvi(world.table(), world.seed, batch_key="batch")
    return np.asarray(model.get_latent_representation())


def nbvae_model(*, encode: bool = False, **settings: Any) -> Embed:
    def encoded(world: World) -> np.ndarray:
        table, seed = world.table(), world.seed
        module = NBVAE.for_counts(table, covariates="batch", encode_covariates=encode, seed=seed)
        trained(table, seed, module, stratify_by="kind", **settings)
        return evaluation.encode(module, table).mean

    return encoded


RIVALS: dict[str, Embed] = {
    "PCA, 10,000": lambda world: principal(data.logged(world.counts, 1e4)),
    "PCA, median": lambda world: principal(data.logged(world.counts)),
    "PCA, Pearson": pearson,
    "centred": centred,
    "Harmony": harmony(COMPONENTS),
    "Harmony, 30": harmony(30),
    "MNN": mnn,
    "scVI": scvi_tools,
    "nbvae, told": nbvae_model(),
    "nbvae, both told": nbvae_model(encode=True),
    "nbvae, to the end": nbvae_model(holdout_fraction=0.0),
    "nbvae, 180 epochs": nbvae_model(holdout_fraction=0.0, max_epochs=180),
}


def nearest(points: np.ndarray) -> np.ndarray:
    found = NearestNeighbors(n_neighbors=NEIGHBOURS + 1).fit(points)
    return np.asarray(found.kneighbors(points, return_distance=False)[:, 1:])


def excess(near: np.ndarray, world: World) -> float:
    """Share of neighbours from the own experiment, less that of labels shuffled within kinds."""
    rng, by_chance = np.random.default_rng(0), []
    for _ in range(20):
        anew = world.batch.copy()
        for kind in np.unique(world.kinds):
            rows = np.flatnonzero(world.kinds == kind)
            anew[rows] = world.batch[rng.permutation(rows)]
        by_chance.append((anew[near] == anew[:, None]).mean())
    return float((world.batch[near] == world.batch[:, None]).mean() - np.mean(by_chance))


def transfer(points: np.ndarray, world: World) -> float:
    """Give labels across experiments; the mean share that is right, over kinds that both have."""
    right = []
    for j in (0, 1):
        mine, theirs = world.batch == j, world.batch != j
        voters = KNeighborsClassifier(NEIGHBOURS).fit(points[theirs], world.kinds[theirs])
        given = voters.predict(points[mine])
        for kind in set(world.kinds[mine]) & set(world.kinds[theirs]):
            right.append((given == kind)[world.kinds[mine] == kind].mean())
    return float(np.mean(right)) if right else np.nan


def scores(points: np.ndarray, world: World) -> dict[str, float]:
    near, myeloid = nearest(points), np.isin(world.kinds, MYELOID)
    same = (myeloid[near] == myeloid[:, None]).mean(axis=1)
    isolated = (world.kinds == ISOLATED) & (world.batch == 0)
    return {
        "own experiment": excess(near, world),
        "own kind": float((world.kinds[near] == world.kinds[:, None]).mean()),
        "transfer": transfer(points, world),
        "lineage": float((same[myeloid].mean() + same[~myeloid].mean()) / 2),
        "strangers": float(world.batch[near][isolated].mean()),
    }


SHOWN = {  # which scores say something where
    "same cells": ("own experiment", "own kind", "transfer"),
    "one kind missing": ("own experiment", "transfer", "strangers"),
    "uneven": ("own experiment", "transfer", "lineage"),
    "nothing shared": ("lineage",),
}


def measured(rivals: Iterable[str]) -> Iterator[dict[str, object]]:
    for seed, deal in product(range(SEEDS), DEALS):
        world = dealt(deal, seed)
        for rival in rivals:
            found = pd.Series(scores(RIVALS[rival](world), world)).round(4)
            yield {"deal": deal, "rival": rival, "seed": seed, **found}
        print(seed, deal, flush=True)


def report(runs: pd.DataFrame) -> str:
    """Tabulate each deal: means over seeds, and the range."""
    parts = ["# Integration", results.about(__doc__)]
    for deal, names in SHOWN.items():
        some = runs[runs.deal == deal]
        table = some.groupby("rival", sort=False)[[*names]].agg(results.ranged(results.hundredths))
        means = f"Means over {some.seed.nunique()} seeds, and their range."
        parts += [f"## {deal.capitalize()}", means, results.markdown(table.reset_index())]
    return results.document(*parts)


def main() -> None:
    """Measure the rivals that are named, or all; write the scores and the report."""
    torch.set_num_threads(1)
    rivals = sys.argv[1:] or list(RIVALS)
    runs = pd.DataFrame(measured(rivals))
    if STORED.exists():
        before = pd.read_csv(STORED)
        runs = pd.concat([before[~before.rival.isin(rivals)], runs])
    places = {name: place for place, name in enumerate([*DEALS, *RIVALS])}
    runs = runs.sort_values(["deal", "rival", "seed"], key=lambda names: names.replace(places))
    results.write(STORED, runs, report(runs))


if __name__ == "__main__":
    main()
