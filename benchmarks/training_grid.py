"""Chapter 6's grid of runs, learning rate × warm-up: python -m benchmarks.training_grid.

It writes nbvae/teaching/living/training_grid.json, a line for each run, which the chapter reads.
The runs are the chapter's plain ones: random weights at the start, a constant rate, 45 epochs of
the sample. It takes some four minutes on one core.
"""

import json
from itertools import product

import torch
from anndata import AnnData

from nbvae import NBVAE, Trainer, datasets, evaluation
from nbvae.teaching.living.training_grid import FILE, IN_USE, Run

RATES = (1e-3, 3e-3, 1e-2, 2e-2, 3e-2)
WARMUPS = (0, 10, 30, 45)  # epochs
SEEDS = range(3)
EPOCHS = 45


def main() -> None:
    """Train them all and write what the figure shows."""
    adata = datasets.pbmc68k_sample()
    runs = [train(adata, *setting) for setting in product(RATES, WARMUPS, SEEDS)]
    lines = ",\n".join(json.dumps(run._asdict()) for run in runs)
    FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def train(adata: AnnData, rate: float, warmup: int, seed: int, epochs: int = EPOCHS) -> Run:
    """Train one."""
    torch.manual_seed(seed)
    module = NBVAE(adata.n_vars)
    trainer = Trainer(
        schedule="constant",
        max_epochs=epochs,
        kl_warmup_epochs=warmup,
        learning_rate=rate,
        stratify_by="cell_type",
        seed=seed,
    )
    history = trainer.fit(module, adata)
    kl = evaluation.encode(module, adata).kl.mean(axis=0)
    return Run(
        rate, warmup, seed, int((kl > IN_USE).sum()),
        train=history["train_neg_elbo"].round(1).tolist(),
        held_out=history["held_out_neg_elbo"].round(1).tolist(),
        kl=history["held_out_kl"].round(2).tolist(),
    )  # fmt: skip


if __name__ == "__main__":
    main()
