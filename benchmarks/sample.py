"""What the README says of the sample, measured anew: python benchmarks/sample.py."""

import time

import scanpy as sc
import torch

from nbvae import NBVAE, Trainer, datasets, evaluation


def main() -> None:
    """Train three seeds and compare with PCA, by how k-means clusters agree with cell types."""
    adata = datasets.pbmc68k_sample()
    logged = sc.pp.log1p(sc.pp.normalize_total(adata, target_sum=1e4, copy=True), copy=True)
    sc.pp.pca(logged, n_comps=10, random_state=0)
    embeddings = {"PCA, 10 components": logged.obsm["X_pca"]}
    for seed in range(3):
        torch.manual_seed(seed)
        module = NBVAE.for_counts(adata)
        trainer = Trainer(stratify_by="cell_type", seed=seed)
        start = time.perf_counter()
        epochs = len(trainer.fit(module, adata))
        seconds = time.perf_counter() - start
        held_out = evaluation.elbo(module, adata, indices=trainer.held_out_cells, n_samples=50)
        name = f"−ELBO {held_out.neg_elbo:.1f}, {epochs} epochs in {seconds:.1f} s, seed {seed}"
        embeddings[name] = evaluation.encode(module, adata).mean
    for name, embedding in embeddings.items():
        score = evaluation.cluster_agreement(embedding, adata.obs["cell_type"], n_clusters=10)
        print(f"ARI {score.ari:.3f}, NMI {score.nmi:.3f}: {name}")


if __name__ == "__main__":
    main()
