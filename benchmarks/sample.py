"""What the README says of the sample, measured anew: python -m benchmarks.sample.

It writes results/sample.csv, a row for each embedding and seed, and prints the README's table.
GLM-PCA is its author's own package, glmpca: benchmarks/requirements.txt has it.
"""

import time
from collections.abc import Iterator

import numpy as np
import pandas as pd
from anndata import AnnData

from benchmarks import results
from benchmarks.plan import PCAS
from benchmarks.quality import pca
from nbvae import NBVAE, Trainer, datasets, evaluation

SEEDS = range(5)
TARGET = results.FOLDER / "sample.csv"
MODEL = "`NBVAE.for_counts`, default settings"
Row = dict[str, float | str]
GLM_PCA = "GLM-PCA, Poisson counts with the library as offset"


def main() -> None:
    """Train with each seed and compare with PCA, by how k-means clusters agree with cell types."""
    adata = datasets.pbmc68k_sample()
    rows = pd.DataFrame([*of_models(adata), *of_pca(adata), *of_glm_pca(adata)])
    results.write(TARGET, rows, digits=4)
    print(table(rows))


def row(name: str, seed: int, adata: AnnData, embedding: np.ndarray, **more: float) -> Row:
    """Score an embedding; the seed starts k-means."""
    score = evaluation.cluster_agreement(embedding, adata.obs["cell_type"], seed=seed)
    return {"name": name, "seed": seed, **more, **score._asdict()}


def of_models(adata: AnnData) -> Iterator[Row]:
    """Train a model with each seed, which chooses the held-out cells, too; score it."""
    for seed in SEEDS:
        start = time.perf_counter()
        module = NBVAE.for_counts(adata, seed=seed)
        trainer = Trainer(stratify_by="cell_type", seed=seed)
        epochs = len(trainer.fit(module, adata))
        print(f"seed {seed}: {epochs} epochs in {time.perf_counter() - start:.1f} s")
        held_out = evaluation.elbo(module, adata, indices=trainer.held_out_cells, n_samples=50)
        latent = evaluation.encode(module, adata).mean
        yield row(MODEL, seed, adata, latent, neg_elbo=held_out.neg_elbo)


def of_pca(adata: AnnData) -> Iterator[Row]:
    """Score the kinds of PCA; PCA itself has no seed."""
    for rival, name in PCAS.items():
        embedding = pca(adata, rival)
        yield from (row(name, seed, adata, embedding) for seed in SEEDS)


def of_glm_pca(adata: AnnData) -> Iterator[Row]:
    """Score GLM-PCA (Townes et al. 2019), by default; seeds draw its start, too."""
    from glmpca.glmpca import glmpca  # only here

    counts = adata.X.toarray().astype(float)
    for seed in SEEDS:
        np.random.seed(seed)  # the package draws from NumPy's global generator
        factors = glmpca(counts.T, 10, fam="poi", sz=counts.sum(axis=1))["factors"]
        yield row(GLM_PCA, seed, adata, factors)


def table(rows: pd.DataFrame) -> str:
    """Write the README's table: a row for each embedding, the range over the seeds."""
    lines = [
        "| | held-out −ELBO, nats per cell | ARI | NMI | silhouette |",
        "|---|---|---|---|---|",
    ]
    for name, own in rows.groupby("name", sort=False):
        bound = "" if own.neg_elbo.isna().all() else span(own.neg_elbo, 0)
        scores = [span(own[score], 2) for score in ("ari", "nmi", "silhouette")]
        lines.append(f"| {name} | {bound} | {' | '.join(scores)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def span(values: pd.Series, decimals: int) -> str:
    """Write the smallest and the largest value, or one number if they look alike."""
    low, high = f"{values.min():.{decimals}f}", f"{values.max():.{decimals}f}"
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    main()
