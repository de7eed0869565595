"""What each process of a test on several ranks runs: `python run_on_ranks.py OUT JSON`.

It is started twice with the environment that torchrun gives, and writes what it ended with.
"""

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from nbvae import NBVAE, Trainer, open_store
from nbvae.train.shared import SharedEpochs

RANK = int(os.environ.get("RANK", "0"))


def cells():
    """101 cells × 12 genes; minibatches of 16 end with one of 5 or so."""
    rng = np.random.default_rng(0)
    group = np.arange(101) % 3
    mean = np.where(np.arange(12) // 4 == group[:, None], 12.0, 1.5)
    counts = rng.negative_binomial(3, 3 / (3 + mean)).astype(np.float32)
    counts[:, 0] += 1
    obs = pd.DataFrame({"group": group.astype(str)}, index=[f"cell-{i}" for i in range(101)])
    return AnnData(counts, obs=obs)


def main():
    out, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
    adata = open_store(asked["store"]) if "store" in asked else cells()
    if asked.get("other_cells_on") == RANK:
        adata = adata[:90].copy()
    torch.manual_seed(RANK)  # each builds other weights: those of the first one count
    module = NBVAE(12, 2, n_hidden=16)
    module = module.double() if asked.get("doubles") else module
    disturb(asked)
    settings = {"batch_size": 16, "max_epochs": 4, "seed": 1, "device": "cpu", "threads": 1}
    trainer = Trainer(**settings | asked.get("settings", {}))
    history = trainer.fit(module, adata, checkpoint=asked.get("checkpoint"))
    content = {"weights": module.state_dict(), "stopped": trainer.stopped}
    torch.save(content | {"history": history.to_numpy().tolist()}, out / f"{RANK}.pt")


def disturb(asked):
    """Let one rank fail, or stop for good, in an epoch."""
    train = SharedEpochs.train

    def disturbed(self, *arguments):
        if self.state.epoch == asked.get("in_epoch", 2):
            if asked.get("fails") == RANK:
                raise OSError("the disk of this machine is gone")
            if asked.get("waits") == RANK:
                print("waiting to be killed", flush=True)
                time.sleep(300)
            if asked.get("breaks") == RANK:
                with torch.no_grad():
                    self.module.log_theta[0] = float("nan")
        return train(self, *arguments)

    SharedEpochs.train = disturbed


if __name__ == "__main__":
    main()
