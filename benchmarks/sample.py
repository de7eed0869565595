"""What the README says of the sample, measured anew: python benchmarks/sample.py."""

import time

import numpy as np
import scanpy as sc
import torch

from nbvae import NBVAE, Trainer, datasets, evaluation


def main() -> None:
    """Train three seeds and compare with PCA."""
    adata = datasets.pbmc68k_sample()
    labels = adata.obs["cell_type"]
    for seed in range(3):
        torch.manual_seed(seed)
        module = NBVAE.for_counts(adata)
        trainer = Trainer(stratify_by="cell_type", seed=seed)
        start = time.perf_counter()
        history = trainer.fit(module, adata)
        seconds = time.perf_counter() - start
        held_out = evaluation.elbo(module, adata, cells=trainer.held_out_cells, n_samples=50)
        latent = evaluation.encode(module, adata).mean
        report(f"NBVAE, seed {seed}", latent, labels)
        print(
            f"  held-out −ELBO {held_out.neg_elbo:.1f} = reconstruction "
            f"{held_out.reconstruction:.1f} + KL {held_out.kl:.1f}; "
            f"{len(history)} epochs in {seconds:.1f} s"
        )
    logged = sc.pp.log1p(sc.pp.normalize_total(adata, target_sum=1e4, copy=True), copy=True)
    sc.pp.pca(logged, n_comps=10, random_state=0)
    report("PCA, 10 components", logged.obsm["X_pca"], labels)


def report(name: str, embedding: np.ndarray, labels: np.ndarray) -> None:
    """Print how k-means clusters of an embedding agree with the labels."""
    score = evaluation.cluster_agreement(embedding, labels, n_clusters=10)
    print(f"{name}: ARI {score.ari:.3f}, NMI {score.nmi:.3f}, silhouette {score.silhouette:.3f}")


if __name__ == "__main__":
    main()
