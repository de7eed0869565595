"""A training run as far as it has come: what an interruption must not lose."""

import copy
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from nbvae.files import CheckpointError, read, write_atomically
from nbvae.module.evaluating import Elbo
from nbvae.module.protocol import TrainableModule
from nbvae.train.checkpoint import check_fits, complete, weights_of
from nbvae.train.fingerprint import check_same, moved_by_training
from nbvae.train.settings import TrainerSettings

FORMAT = "nbvae run 5"
PROGRESS = ("epoch", "rows", "best_epoch", "best_score", "best_weights", "stopped")
COLUMNS = ["epoch", "kl_weight"] + [  # of the history
    f"{cells}_{term}" for cells in ("train", "held_out") for term in Elbo._fields
]
WAY_OUT = "Give the new run another path, or delete that file to start afresh."


class TrainingState:
    """The state of a run between two epochs.

    An epoch's own random numbers need no state: they follow from the seed and the epoch's number.

    Args:
        module: trained in place.
        settings: of the trainer.
        identity: what it is a run of; from ``fingerprint``.
        n_cells: how many cells it is trained on.

    Raises:
        ValueError: there is a prior of θ, but the module has no θ.

    """

    def __init__(
        self,
        module: TrainableModule,
        settings: TrainerSettings,
        identity: dict[str, list[str]],
        n_cells: int,
    ) -> None:
        self.module = module
        self.settings = settings
        self.identity = identity
        # Adam would copy weights that are not stored row by row, there and back; it gets views
        self._stored = [_row_by_row(weights) for weights in module.parameters()]
        self._n_cells = n_cells
        self._log_theta = log_theta_of(module) if settings.theta_prior is not None else None
        self._rates, groups = self._groups()
        self.optimizer = torch.optim.Adam(
            groups, lr=settings.learning_rate, fused=True, capturable=self._on_gpu()
        )
        self.epoch = 0  # how many are complete
        self.rows: list[tuple[float, ...]] = []  # of the history
        self.best_epoch, self.best_score = 0, float("inf")
        self.best_weights = copy.deepcopy(module.state_dict())
        self.stopped = ""  # why the run is over

    def _groups(self) -> tuple[list[float], list[dict[str, list[Tensor]]]]:
        """Divide the weights by how many times the learning rate they move."""
        groups: dict[float, list[Tensor]] = {}
        for stored, weights in zip(self._stored, self.module.parameters(), strict=True):
            rate = self.settings.theta_rate() if weights is self._log_theta else 1.0
            groups.setdefault(rate, []).append(stored)
        return list(groups), [{"params": weights} for weights in groups.values()]

    def _on_gpu(self) -> bool:
        """Whether steps may be recorded: then Adam must not count them on the host."""
        return self._stored[0].is_cuda

    def update_weights(self, learning_rate: float | Tensor) -> None:
        """Let Adam take one step against the gradients that the module has now."""
        for rate, group in zip(self._rates, self.optimizer.param_groups, strict=True):
            group["lr"] = learning_rate if rate == 1 else rate * learning_rate
        if self._log_theta is not None and self._log_theta.grad is not None:
            pull = self.settings.theta_pull(self._log_theta.detach(), self._n_cells)
            self._log_theta.grad.add_(pull)
        for stored, weights in zip(self._stored, self.module.parameters(), strict=True):
            stored.grad = None if weights.grad is None else _row_by_row(weights.grad)
        self.optimizer.step()

    def save_best(self, score: float) -> None:
        """Keep a copy of the present weights as the best so far."""
        self.best_epoch, self.best_score = self.epoch, score
        self.best_weights = copy.deepcopy(self.module.state_dict())

    def save(self, path: str | Path) -> None:
        """Write everything that is needed to resume."""
        content = {
            "format": FORMAT,
            "settings": asdict(self.settings),
            "identity": self.identity,
            "moved": moved_by_training(self.module, self.identity["module"]),
            **weights_of(self.module),
            "optimizer": self.optimizer.state_dict(),
            "progress": {name: getattr(self, name) for name in PROGRESS},
        }
        write_atomically(path, content)

    def resume(self, path: str | Path) -> None:
        """Resume a run where ``save`` left it: all of it, or nothing.

        Raises:
            CheckpointError: the file is damaged, or of a run with other settings or another
                fingerprint.

        """
        content = read(path, FORMAT, "Trainer.fit(…, checkpoint=…)")
        with complete(path):
            self._check_same_run(content, path)
            progress = {name: content["progress"][name] for name in PROGRESS}
            for weights in (content["weights"], progress["best_weights"]):
                check_fits(self.module, content | {"weights": weights}, path)
            check_same(content["identity"], self.identity, content["moved"], path, WAY_OUT)
            self.optimizer.load_state_dict(content["optimizer"])
            for group in self.optimizer.param_groups:  # the part before may have run elsewhere
                group["capturable"] = self._on_gpu()
        self.module.load_state_dict(content["weights"])
        for name, value in progress.items():
            setattr(self, name, value)

    def _check_same_run(self, content: dict[str, Any], path: str | Path) -> None:
        """Refuse a file of a run with other settings: it is neither continued nor overwritten."""
        for name, value in self.settings.of_the_run().items():
            theirs = content["settings"][name]
            if theirs != value:
                raise CheckpointError(
                    f"{str(path)!r} belongs to a run with {name}={theirs!r}, this one has "
                    f"{name}={value!r}. {WAY_OUT}"
                )


def as_history(rows: list[tuple[float, ...]] | dict[str, list[float]]) -> pd.DataFrame:
    """Give the history its columns and types, also when no epoch was completed."""
    if isinstance(rows, dict):
        rows = {name: rows[name] for name in COLUMNS}  # a column that is missing is an error
    table = pd.DataFrame(rows, columns=COLUMNS, dtype=float)
    return table.astype({"epoch": int}).set_index("epoch")


def log_theta_of(module: TrainableModule) -> nn.Parameter:
    """Return the log θ of a module, which is to have a prior.

    Raises:
        ValueError: it has none.

    """
    log_theta = getattr(module, "log_theta", None)
    if not isinstance(log_theta, nn.Parameter):
        raise ValueError(
            "theta_prior is a prior of θ, but this module has no log_theta to train. Leave "
            "theta_prior out."
        )
    return log_theta


def _row_by_row(values: Tensor) -> Tensor:
    """View a matrix that is stored column by column as its transpose; anything else as it is."""
    values = values.detach()
    return values.T if values.ndim == 2 and values.T.is_contiguous() else values
