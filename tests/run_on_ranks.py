"""What each process of a test on several ranks runs, with the environment that torchrun gives.

`python run_on_ranks.py` takes orders, a line of JSON each. For each rank it forks itself, so that
PyTorch is imported once; the rank writes what it said and what it ended with into a folder.
"""

import atexit
import gc
import json
import os
import signal
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData

from nbvae import NBVAE, Trainer, open_store
from nbvae.train.shared import SharedEpochs

PATIENCE = 300  # seconds: several ranks share a busy machine's processor


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
    """Reply to an order with the process that was started, or with how it ended."""
    torch.optim.Adam([torch.zeros(1)])  # the first one imports as much again as PyTorch itself
    gc.freeze()  # else each fork would go through all of that when it ends
    for line in sys.stdin:
        order = json.loads(line)
        if "ended" in order:
            _, status = os.waitpid(order["ended"], 0)
            print(os.waitstatus_to_exitcode(status), flush=True)
        elif process := os.fork():
            print(process, flush=True)
        else:
            end_as_python_does(
                lambda order=order: be_a_rank(
                    Path(order["folder"]), order["environment"], order["asked"]
                )
            )


def end_as_python_does(work):
    """Work and end, with what was registered for that, but without taking all modules apart."""
    code = 0
    try:
        work()
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    sys.stderr.flush()
    os._exit(code)


def be_a_rank(folder, environment, asked):
    """Train with others, and write what came of it; not for ever."""
    signal.alarm(PATIENCE)
    os.environ.update(environment)
    rank = int(environment["RANK"])
    os.dup2(os.open(folder / f"{rank}.err", os.O_WRONLY | os.O_CREAT), sys.stderr.fileno())
    adata = open_store(asked["store"]) if "store" in asked else cells()
    if asked.get("other_cells_on") == rank:
        adata = adata[:90].copy()
    if asked.get("other_counts_on") == rank:
        adata.X[7, 3] += 1
    torch.manual_seed(rank)  # each builds other weights: those of the first one count
    module = NBVAE(12, 2, n_hidden=16)
    module = module.double() if asked.get("doubles") else module
    disturb(rank, asked)
    settings = {"batch_size": 16, "max_epochs": 4, "seed": 1, "device": "cpu", "threads": 1}
    own = asked.get("settings_on", {}).get(str(rank), {})
    trainer = Trainer(**settings | asked.get("settings", {}) | own)
    checkpoint = asked.get("checkpoints", {}).get(str(rank), asked.get("checkpoint"))
    history = trainer.fit(module, adata, checkpoint=checkpoint)
    content = {"weights": module.state_dict(), "stopped": trainer.stopped}
    torch.save(content | {"history": history.to_numpy().tolist()}, folder / f"{rank}.pt")


def disturb(rank, asked):
    """Let one rank fail, or be killed, in the third epoch."""
    train = SharedEpochs.train

    def disturbed(self, *arguments):
        if self.state.epoch == 2:
            if asked.get("fails") == rank:
                raise OSError("the disk of this machine is gone")
            if asked.get("is_killed") == rank:
                os.kill(os.getpid(), signal.SIGKILL)
            if asked.get("breaks") == rank:
                with torch.no_grad():
                    self.module.log_theta[0] = float("nan")
        return train(self, *arguments)

    evaluate = SharedEpochs.evaluate

    def interrupted(self):
        if asked.get("interrupted") == rank:
            raise KeyboardInterrupt
        return evaluate(self)

    SharedEpochs.train, SharedEpochs.evaluate = disturbed, interrupted


if __name__ == "__main__":
    main()
