"""A training run as far as it has come: what an interruption must not lose."""

import copy
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nbvae.data.minibatches import CellTable
from nbvae.files import CheckpointError, read, write_atomically
from nbvae.module.protocol import TrainableModule
from nbvae.train.checkpoint import load_weights, weights_of
from nbvae.train.settings import TrainerSettings

FORMAT = "nbvae run 3"
MAY_CHANGE = ("device", "progress")  # settings that may differ between two parts of a run
PROGRESS = ("epoch", "rows", "best_epoch", "best_score", "best_weights", "stopped")


class TrainingState:
    """The state of a run between two epochs.

    An epoch's own random numbers need no state: they follow from the seed and the epoch's number.

    Args:
        module: trained in place.
        settings: of the trainer.
        table: what it is trained on; its checksum tells one data set from another.

    """

    def __init__(
        self, module: TrainableModule, settings: TrainerSettings, table: CellTable
    ) -> None:
        self.module = module
        self.settings = settings
        self.checksum = _checksum(table)
        # Adam copies weights that are not stored row by row, there and back; it gets views that are
        self._stored = [_row_by_row(weights) for weights in module.parameters()]
        self.optimizer = torch.optim.Adam(self._stored, lr=settings.learning_rate, fused=True)
        self.epoch = 0  # how many are complete
        self.rows: list[tuple[float, ...]] = []  # of the history
        self.best_epoch, self.best_score = 0, float("inf")
        self.best_weights = copy.deepcopy(module.state_dict())
        self.stopped = ""  # why the run is over

    def update_weights(self, learning_rate: float) -> None:
        """Let Adam take one step against the gradients that the module has now."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
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
            "checksum": self.checksum,
            **weights_of(self.module),
            "optimizer": self.optimizer.state_dict(),
            "progress": {name: getattr(self, name) for name in PROGRESS},
        }
        write_atomically(path, content)

    def resume(self, path: str | Path) -> None:
        """Take up a run where ``save`` left it.

        Raises:
            CheckpointError: the file is damaged, or of another module, other counts or settings.

        """
        content = read(path, FORMAT, "Trainer.fit(…, checkpoint=…)")
        self._check_same_run(content, path)
        load_weights(self.module, content, path)
        self.optimizer.load_state_dict(content["optimizer"])
        for name in PROGRESS:
            setattr(self, name, content["progress"][name])

    def _check_same_run(self, content: dict[str, Any], path: str | Path) -> None:
        """A file of another run is refused, not continued and not overwritten."""
        way_out = "Give the new run another path, or delete that file to start anew."
        if content["checksum"] != self.checksum:
            raise CheckpointError(f"{str(path)!r} belongs to a run on other counts. {way_out}")
        for name, value in asdict(self.settings).items():
            theirs = content["settings"].get(name)
            if theirs != value and name not in MAY_CHANGE:
                raise CheckpointError(
                    f"{str(path)!r} belongs to a run with {name}={theirs!r}, this one has "
                    f"{name}={value!r}. {way_out}"
                )


def _row_by_row(values: Tensor) -> Tensor:
    """View a matrix that is stored column by column as its transpose; anything else as it is."""
    values = values.detach()
    return values.T if values.ndim == 2 and values.T.is_contiguous() else values


def _checksum(table: CellTable) -> list[int]:
    """Tell two data sets apart: shape, and a checksum of what is where."""
    counts = table.counts
    crc = 0
    for part in (counts.indptr, counts.indices, counts.data):
        crc = zlib.crc32(part, crc)
    return [*counts.shape, crc]
