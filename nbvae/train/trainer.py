"""Training: minibatches, Adam, a held-out split, a schedule, early stopping, checkpoints.

The trainer knows nothing of the module but the contract in ``module/protocol.py``:
``module(x, kl_weight=…)`` returns ``loss``, ``reconstruction`` and ``kl``.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from torch import Tensor
from tqdm import tqdm

from nbvae.data.minibatches import CellTable, Minibatch
from nbvae.data.split import split_cells
from nbvae.files import check_writable, read, write_atomically
from nbvae.module.evaluating import Elbo, device_of, elbo
from nbvae.module.fast import loss_of
from nbvae.module.protocol import TrainableModule
from nbvae.threads import use_threads
from nbvae.train import ranks
from nbvae.train.checkpoint import check_fits, complete, weights_of
from nbvae.train.device import epochs_on_device
from nbvae.train.divergence import broken_terms, diverged
from nbvae.train.environment import pick_device, reproducible
from nbvae.train.fingerprint import fingerprint
from nbvae.train.settings import TrainerSettings
from nbvae.train.shared import Epochs, epochs_on_ranks
from nbvae.train.state import TrainingState, as_history

FORMAT = "nbvae checkpoint 5"
NOT_HELD_OUT = Elbo(float("nan"), float("nan"), float("nan"))


class Trainer:
    """Fits a module to raw counts; ``TrainerSettings`` has the reason of each default.

    Args:
        max_epochs: how often each training cell is seen; None: about 300 steps, at least 10 epochs.
        batch_size: cells per minibatch.
        learning_rate: the highest of the schedule.
        schedule: "one-cycle" (rise, then fall to 0) or "constant".
        kl_warmup_epochs: epochs over which the weight of the KL term rises from 0 to 1.
        holdout_fraction: of the cells, never trained on; they decide which epoch is the best. With
            0 the last is kept; a large ``max_epochs`` then mixes batches more: chapter 10.
        stratify_by: a column of obs; each of its groups gives that fraction.
        patience: stop after this many epochs without a better held-out ELBO; None: never.
        theta_prior: a normal prior of each gene's log θ, whose mean and standard deviation are
            "estimated" from all genes, and which lets log θ move three times as fast; or a
            standard deviation, around 0; None: no prior. The history is without it.
        seed: of the split, the order of the cells and the draws of z.
        device: "auto" is CUDA if there is one, else the CPU; "mps" only by name.
        progress: whether to show a bar; None: in a terminal, not in a notebook or a log.
        threads: how many compute, whatever PyTorch is set to; None: one. With more, the last bits
            of the weights differ. On an idle machine a second one saves a sixth to a third of the
            time; beside other programs, training takes many times as long with it.

    Attributes:
        settings: the ``TrainerSettings``.
        history: a DataFrame with one row per epoch, all in nats per cell: the weight of the KL
            term, then the negative ELBO and its two terms on training cells (as they were seen,
            before each step) and on held-out cells (after the epoch). None before ``fit``.
        train_cells: row numbers of the cells trained on.
        held_out_cells: row numbers of the cells held out.
        stopped: why training ended: "max_epochs", "patience" or "interrupted".
        best_epoch: the epoch whose weights the module has now.

    """

    def __init__(
        self,
        *,
        max_epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 1e-2,
        schedule: str = "one-cycle",
        kl_warmup_epochs: int = 0,
        holdout_fraction: float = 0.1,
        stratify_by: str | None = None,
        patience: int | None = None,
        theta_prior: float | str | None = None,
        seed: int = 0,
        device: str = "auto",
        progress: bool | None = None,
        threads: int | None = None,
    ) -> None:
        self.settings = TrainerSettings(
            max_epochs=max_epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            schedule=schedule,
            kl_warmup_epochs=kl_warmup_epochs,
            holdout_fraction=holdout_fraction,
            stratify_by=stratify_by,
            patience=patience,
            theta_prior=theta_prior,
            seed=seed,
            device=device,
            progress=progress,
            threads=threads,
        )
        self.history: pd.DataFrame | None = None
        self.train_cells = np.empty(0, dtype=int)
        self.held_out_cells = np.empty(0, dtype=int)
        self.stopped = ""
        self.best_epoch = 0

    def fit(
        self,
        module: TrainableModule,
        adata: AnnData,
        *,
        layer: str | None = None,
        checkpoint: str | Path | None = None,
    ) -> pd.DataFrame:
        """Train a module, from the weights that it has, and leave the best weights in it.

        The best weights are those with the lowest held-out negative ELBO once the KL warm-up is
        over; without held-out cells, the last ones. Ctrl-C ends training early in the same way.
        The same settings, module and counts give the same weights, bit for bit, on a CPU.

        Under ``torchrun`` all processes train one module, each a part of every minibatch, on a GPU
        or a core of its own; all end with the same weights, and the first one writes checkpoints.

        Args:
            module: trained in place and left on the device it was trained on.
            adata: raw counts, cells × genes; or a store of them, from ``open_store``.
            layer: the layer that holds the counts; ``X`` when left out.
            checkpoint: a file that gets the state of the run after each epoch. If it is there
                already, the run resumes from it, and ends with the very weights that it would
                have had without the interruption.

        Returns:
            The history, as in ``Trainer.history``.

        Raises:
            CountsError: the matrix does not hold raw counts.
            ValueError: the module was built for another number of genes, or has no θ for its
                prior; too few cells; this machine lacks the device or that many processors.
            CheckpointError: the checkpoint is damaged, or of another run: other settings, counts,
                genes, labels, covariates, or another module.
            OSError: the checkpoint can't be written; raised before the first epoch.
            TrainingDivergedError: a term of the loss is no longer finite.
            RankError: under ``torchrun``, another process is gone, or has other data or settings.

        """
        with use_threads(self.settings.threads), ranks.one_fate():
            state, table, n_epochs = self._start(module, adata, layer, checkpoint)
            try:
                with reproducible():
                    self._run_epochs(state, table, n_epochs, checkpoint)
            except KeyboardInterrupt as error:
                ranks.refuse_to_stop(error)
                state.stopped = "interrupted"
                if not state.best_epoch:  # in the first epoch: the present weights are all there is
                    state.save_best(state.best_score)
            finally:
                module.load_state_dict(state.best_weights)
                self.history = as_history(state.rows)
                self.stopped, self.best_epoch = state.stopped, state.best_epoch
        return self.history

    def _start(
        self,
        module: TrainableModule,
        adata: AnnData,
        layer: str | None,
        checkpoint: str | Path | None,
    ) -> tuple[TrainingState, CellTable, int]:
        """Check all that can be checked before the first epoch; resume the run if it was cut off.

        Returns the state, the cells, and how many epochs there are in all.
        """
        settings, device = self.settings, ranks.join(pick_device(self.settings.device))
        if checkpoint is not None and ranks.first():
            check_writable(checkpoint)
        table = CellTable.of(adata, module, layer=layer)
        train_cells, held_out = split_cells(
            adata, settings.holdout_fraction, settings.seed, settings.stratify_by
        )
        n_epochs = settings.epochs_for(len(train_cells))
        identity = {}  # takes a while, and only a file or other ranks need it
        if checkpoint is not None or ranks.size() > 1:
            identity = fingerprint(module, adata, table, held_out, settings.stratify_by)
        module.to(device)
        ranks.start_alike(module, {"settings": settings.of_the_run(), **identity})
        state = TrainingState(module, settings, identity, len(train_cells))
        if checkpoint is not None and Path(checkpoint).exists():
            state.resume(checkpoint)
        self.train_cells, self.held_out_cells = train_cells, held_out
        return state, table, n_epochs

    def _run_epochs(
        self, state: TrainingState, table: CellTable, n_epochs: int, checkpoint: str | Path | None
    ) -> None:
        """Run the epochs that are left: train, evaluate, decide, save."""
        progress = self.settings.progress if ranks.first() else False
        cells = table, self.train_cells, self.held_out_cells
        elsewhere = epochs_on_ranks(state, *cells) or epochs_on_device(state, *cells)
        with tqdm(
            total=n_epochs,
            initial=state.epoch,
            desc="Training",
            unit="epoch",
            disable=None if progress is None else not progress,
        ) as bar:
            while not state.stopped:
                train = self._train_epoch(state, table, n_epochs, elsewhere)
                held_out = self._evaluate(state, table, elsewhere)
                self._end_epoch(state, train, held_out, n_epochs)
                if checkpoint is not None and ranks.first():
                    state.save(checkpoint)
                bar.set_postfix_str(f"−ELBO {train.neg_elbo:.1f}, held out {held_out.neg_elbo:.1f}")
                bar.update()

    def _train_epoch(
        self, state: TrainingState, table: CellTable, n_epochs: int, elsewhere: Epochs | None
    ) -> Elbo:
        """Train on each cell once, in a new order. Returns means over the epoch."""
        settings, module = self.settings, state.module
        module.train()
        rng = np.random.default_rng([settings.seed, state.epoch])
        noise_seed = int(rng.integers(2**63))
        order = table.shuffled(self.train_cells, settings.batch_size, rng)
        plan = settings.plan(state.epoch, n_epochs, len(order))
        if elsewhere is not None:
            sums = elsewhere.train(order, plan, noise_seed)
        else:
            torch.manual_seed(noise_seed)
            sums = torch.zeros(2, dtype=torch.float64)
            minibatches = table.minibatches(order, settings.batch_size, device_of(module))
            for step, minibatch in enumerate(minibatches):
                sums += self._train_step(state, minibatch, step, *plan[step])
            if not all(torch.isfinite(weights).all() for weights in module.parameters()):
                raise diverged("weights", state.epoch, step)
        reconstruction, kl = (sums / len(order)).tolist()
        return Elbo(reconstruction + kl, reconstruction, kl)

    def _train_step(
        self,
        state: TrainingState,
        minibatch: Minibatch,
        step: int,
        kl_weight: float,
        learning_rate: float,
    ) -> Tensor:
        """Move the weights against the gradient of one minibatch, unless its loss is not finite.

        Returns the sums of the reconstruction term and the KL over its cells. (2,), float64.
        """
        output = loss_of(state.module, minibatch, kl_weight=kl_weight)
        if not torch.isfinite(output.loss):
            raise diverged(broken_terms(output), state.epoch, step)
        state.module.zero_grad()
        output.loss.backward()
        state.update_weights(learning_rate)
        terms = torch.stack([output.reconstruction.sum(), output.kl.sum()])
        return terms.detach().cpu().double()  # off the device first: MPS has no doubles

    def _evaluate(self, state: TrainingState, table: CellTable, elsewhere: Epochs | None) -> Elbo:
        """Estimate the ELBO of the held-out cells, with the same noise after each epoch."""
        if not len(self.held_out_cells):
            return NOT_HELD_OUT
        if elsewhere is not None:
            return elsewhere.evaluate()
        return elbo(state.module, table, indices=self.held_out_cells, seed=self.settings.seed)

    def _end_epoch(self, state: TrainingState, train: Elbo, held_out: Elbo, n_epochs: int) -> None:
        """Note the epoch, keep its weights if they are the best so far, decide whether to stop."""
        settings = self.settings
        state.epoch += 1
        state.rows.append((state.epoch, settings.kl_weight_at(state.epoch), *train, *held_out))
        score = held_out.neg_elbo if len(self.held_out_cells) else -state.epoch
        if state.epoch < settings.kl_warmup_epochs:  # the loss is not the ELBO yet
            state.save_best(float("inf"))
        elif score < state.best_score:
            state.save_best(score)
        elif settings.patience and state.epoch - state.best_epoch >= settings.patience:
            state.stopped = "patience"
        if state.epoch == n_epochs and not state.stopped:
            state.stopped = "max_epochs"

    def save(self, path: str | Path, module: TrainableModule) -> None:
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
    def load(cls, path: str | Path, module: TrainableModule) -> "Trainer":
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
        with complete(path):
            trainer = cls(**content["settings"])
            trainer.history = as_history(content["history"])
            trainer.train_cells = np.array(content["train_cells"], dtype=int)
            trainer.held_out_cells = np.array(content["held_out_cells"], dtype=int)
            trainer.stopped, trainer.best_epoch = content["stopped"], content["best_epoch"]
            check_fits(module, content, path)
        module.load_state_dict(content["weights"])
        return trainer
