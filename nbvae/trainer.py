"""Training: minibatches, Adam, a held-out split, a schedule, early stopping, checkpoints.

The trainer knows nothing of the module but this: ``module(x, kl_weight=…)`` returns ``loss``,
``reconstruction`` and ``kl``. If the module has ``batches``, it is called with ``batch=`` as well;
if it has a ``fast_forward``, that is called to train.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import nn
from tqdm import tqdm

from nbvae.cells import Cells
from nbvae.checkpoint import load_weights, read, weights_of, write_atomically
from nbvae.evaluation import Elbo, elbo
from nbvae.run import Run
from nbvae.settings import TrainerSettings
from nbvae.split import split_cells

FORMAT = "nbvae checkpoint 2"


class Trainer:
    """Fits a module to raw counts.

    Args:
        settings: fields of ``TrainerSettings`` by name, e.g. ``Trainer(max_epochs=50, seed=1)``.

    Attributes:
        settings: the ``TrainerSettings``.
        history: a DataFrame with one row an epoch, all in nats a cell: the weight of the KL term,
            then the negative ELBO and its two terms on training cells (as they were met, before
            each step) and on held-out cells (after the epoch). None before ``fit``.
        train_cells: row numbers of the cells trained on.
        held_out_cells: row numbers of the cells held out.
        stopped: why training ended: "max_epochs", "patience" or "interrupted".
        best_epoch: the epoch whose weights the module has now.

    """

    def __init__(self, **settings: object) -> None:
        self.settings = TrainerSettings(**settings)
        self.history: pd.DataFrame | None = None
        self.train_cells = np.empty(0, dtype=int)
        self.held_out_cells = np.empty(0, dtype=int)
        self.stopped = ""
        self.best_epoch = 0

    def fit(
        self,
        module: nn.Module,
        adata: AnnData,
        *,
        layer: str | None = None,
        checkpoint: str | Path | None = None,
    ) -> pd.DataFrame:
        """Train a module, from the weights that it has, and leave the best weights in it.

        The best weights are those with the lowest held-out negative ELBO once the KL warm-up is
        over; without held-out cells, the last ones. Ctrl-C ends training early in the same way.
        The same settings, module and counts give the same weights, bit for bit, on a CPU.

        Args:
            module: trained in place and left on the device it was trained on.
            adata: raw counts, cells × genes.
            layer: the layer that holds the counts; ``X`` when left out.
            checkpoint: a file that gets the state of the run after each epoch. If it is there
                already, the run goes on from it, and ends with the very weights that it would
                have had without the interruption.

        Returns:
            The history, as in ``Trainer.history``.

        Raises:
            CountsError: the matrix does not hold raw counts.
            ValueError: the module was built for another number of genes, or too few cells.
            CheckpointError: the checkpoint is damaged, or of another run.
            TrainingDivergedError: a term of the loss is not finite any more.

        """
        cells = Cells.of(adata, module, layer=layer)
        settings = self.settings
        self.train_cells, self.held_out_cells = split_cells(
            adata, settings.holdout_fraction, settings.seed, settings.stratify_by
        )
        n_epochs = settings.epochs_for(len(self.train_cells))
        module.to(pick_device(settings.device))
        run = Run(module, settings, cells)
        if checkpoint is not None and Path(checkpoint).exists():
            run.go_on_from(checkpoint)
        try:
            with _training():
                self._run(run, cells, n_epochs, checkpoint)
        except KeyboardInterrupt:
            run.stopped = "interrupted"
            if not run.best_epoch:  # in the first epoch: the weights of now are all there is
                run.keep(run.best_score)
        finally:
            module.load_state_dict(run.best_weights)
            self.history = _as_history(run.rows)
            self.stopped, self.best_epoch = run.stopped, run.best_epoch
        return self.history

    def _run(self, run: Run, cells: Cells, n_epochs: int, checkpoint: str | Path | None) -> None:
        """Go through the epochs that are left, keeping the best weights aside."""
        progress = self.settings.progress
        with tqdm(
            total=n_epochs,
            initial=run.epoch,
            desc="Training",
            unit="epoch",
            disable=None if progress is None else not progress,
        ) as bar:
            while not run.stopped:
                train = self._train_epoch(run, cells, n_epochs)
                held_out = self._held_out(run.module, cells)
                self._judge(run, train, held_out, n_epochs)
                if checkpoint is not None:
                    run.save(checkpoint)
                bar.set_postfix_str(f"−ELBO {train.neg_elbo:.1f}, held out {held_out.neg_elbo:.1f}")
                bar.update()

    def _train_epoch(self, run: Run, cells: Cells, n_epochs: int) -> Elbo:
        """Meet each training cell once, in a new order. Returns means over the epoch."""
        run.module.train()
        order = np.random.default_rng([self.settings.seed, run.epoch])
        torch.manual_seed(int(order.integers(2**63)))
        rows = order.permutation(self.train_cells)
        batch_size, device = self.settings.batch_size, next(run.module.parameters()).device
        n_steps = -(-len(rows) // batch_size)
        sums = torch.zeros(2, dtype=torch.float64)
        minibatches = cells.minibatches_with_entries(rows, batch_size, device)
        for step, (x, entries, covariates) in enumerate(minibatches):
            kl_weight = self.settings.kl_weight_at(run.epoch + (step + 1) / n_steps)
            progress = (run.epoch + (step + 0.5) / n_steps) / n_epochs
            run.set_learning_rate(self.settings.learning_rate_at(progress))
            sums += run.step(step, x, entries, kl_weight=kl_weight, **covariates)
        if not all(torch.isfinite(weights).all() for weights in run.module.parameters()):
            raise run.diverged("weights", step)
        reconstruction, kl = (sums / len(rows)).tolist()
        return Elbo(reconstruction + kl, reconstruction, kl)

    def _held_out(self, module: nn.Module, cells: Cells) -> Elbo:
        if not len(self.held_out_cells):
            return Elbo(float("nan"), float("nan"), float("nan"))
        return elbo(module, cells, cells=self.held_out_cells, seed=self.settings.seed)

    def _judge(self, run: Run, train: Elbo, held_out: Elbo, n_epochs: int) -> None:
        """Note the epoch, keep its weights if they are the best so far, decide whether to go on."""
        settings = self.settings
        run.epoch += 1
        run.rows.append((run.epoch, settings.kl_weight_at(run.epoch), *train, *held_out))
        score = held_out.neg_elbo if len(self.held_out_cells) else -run.epoch
        if run.epoch < settings.kl_warmup_epochs:  # the loss is not the ELBO yet
            run.keep(float("inf"))
        elif score < run.best_score:
            run.keep(score)
        elif settings.patience and run.epoch - run.best_epoch >= settings.patience:
            run.stopped = "patience"
        if run.epoch == n_epochs and not run.stopped:
            run.stopped = "max_epochs"

    def save(self, path: str | Path, module: nn.Module) -> None:
        """Write the module's weights, the settings and the history to one file.

        The file is complete or not there: it is written beside ``path`` and then renamed.

        Raises:
            ValueError: nothing was trained yet.

        """
        if self.history is None:
            raise ValueError("There is nothing to save yet: call fit first.")
        content = {
            "format": FORMAT,
            **weights_of(module),
            "settings": asdict(self.settings),
            "history": self.history.reset_index().to_dict("list"),
            "train_cells": self.train_cells.tolist(),
            "held_out_cells": self.held_out_cells.tolist(),
            "stopped": self.stopped,
            "best_epoch": self.best_epoch,
        }
        write_atomically(path, content)

    @classmethod
    def load(cls, path: str | Path, module: nn.Module) -> "Trainer":
        """Read a file that ``save`` wrote: the weights go into ``module``.

        Only tensors, numbers and strings are read; no code in the file is executed.

        Args:
            path: the file.
            module: built with the same arguments as the one that was saved.

        Returns:
            The trainer, as it was when it was saved.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file is damaged, foreign, or of a module with other shapes.

        """
        content = read(path, FORMAT, "Trainer.save")
        load_weights(module, content, path)
        trainer = cls(**content["settings"])
        trainer.history = _as_history(content["history"])
        trainer.train_cells = np.array(content["train_cells"], dtype=int)
        trainer.held_out_cells = np.array(content["held_out_cells"], dtype=int)
        trainer.stopped, trainer.best_epoch = content["stopped"], content["best_epoch"]
        return trainer


_COLUMNS = ["epoch", "kl_weight"] + [
    f"{cells}_{term}" for cells in ("train", "held_out") for term in Elbo._fields
]


def pick_device(name: str) -> torch.device:
    """Resolve "auto" to CUDA where there is one, else to the CPU; other names are taken.

    Apple's MPS has to be named: not every PyTorch that this package runs with has all operators
    for it.
    """
    if name != "auto":
        return torch.device(name)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def _training() -> Iterator[None]:
    """The caller's random numbers go on as if nothing happened. Weights that die shrink to numbers
    with which processors are a hundred times slower; they count as zero meanwhile.
    """
    with torch.random.fork_rng():
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_flush_denormal(False)


def _as_history(rows: list[tuple] | dict[str, list]) -> pd.DataFrame:
    """Give the history its columns and types, also when no epoch was completed."""
    table = pd.DataFrame(rows, columns=_COLUMNS, dtype=float)
    return table.astype({"epoch": int}).set_index("epoch")
