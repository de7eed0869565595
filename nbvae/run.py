"""A training run as far as it has come: what an interruption must not lose."""

import copy
import zlib
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from nbvae.cells import Cells, loss_of
from nbvae.checkpoint import CheckpointError, load_weights, read, weights_of, write_atomically
from nbvae.entries import Entries
from nbvae.settings import TrainerSettings

FORMAT = "nbvae run 1"
FREE = ("device", "progress")  # settings that may change between two parts of a run


class TrainingDivergedError(FloatingPointError):
    """A term of the loss became NaN or infinite; the module has the last good weights."""


class Run:
    """The state of a run between two epochs. An epoch's own random numbers need no state:
    they follow from the seed and the number of the epoch.

    Args:
        module: trained in place.
        settings: of the trainer.
        cells: what it is trained on; their checksum tells one data set from another.

    """

    def __init__(self, module: nn.Module, settings: TrainerSettings, cells: Cells) -> None:
        self.module = module
        self.settings = settings
        self.checksum = _checksum(cells)
        # Adam copies weights that are not stored row by row, there and back; it gets views that are
        self.stored = [_row_by_row(weights) for weights in module.parameters()]
        self.optimizer = torch.optim.Adam(self.stored, lr=settings.learning_rate, fused=True)
        self.epoch = 0  # how many are complete
        self.rows: list[tuple] = []  # of the history
        self.best_epoch, self.best_score = 0, float("inf")
        self.best_weights = copy.deepcopy(module.state_dict())
        self.stopped = ""  # why the run is over

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set how far the next step may go."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate

    def step(self, number: int, x: Tensor, entries: Entries, **arguments: object) -> Tensor:
        """Move the weights against the gradient of one minibatch.

        Returns:
            The sums of the reconstruction term and of the KL over the minibatch. (2,), float64.

        Raises:
            TrainingDivergedError: the loss is not finite; no weight was moved.

        """
        output = loss_of(self.module, x, entries, **arguments)
        if not torch.isfinite(output.loss):
            raise self.diverged(_broken(output), number)
        self.module.zero_grad()
        output.loss.backward()
        for stored, weights in zip(self.stored, self.module.parameters(), strict=True):
            stored.grad = None if weights.grad is None else _row_by_row(weights.grad)
        self.optimizer.step()
        terms = torch.stack([output.reconstruction.sum(), output.kl.sum()])
        return terms.detach().cpu().double()  # MPS has no doubles

    def diverged(self, what: str, step: int) -> TrainingDivergedError:
        """Say where the run broke."""
        return TrainingDivergedError(
            f"In epoch {self.epoch + 1}, minibatch {step + 1}, the {what} became NaN or infinite. "
            "The module has the last good weights. Lower learning_rate, or look for extreme counts."
        )

    def keep(self, score: float) -> None:
        """Take the weights of now for the best so far."""
        self.best_epoch, self.best_score = self.epoch, score
        self.best_weights = copy.deepcopy(self.module.state_dict())

    def save(self, path: str | Path) -> None:
        """Write everything that is needed to go on."""
        content = {
            "format": FORMAT,
            "settings": asdict(self.settings),
            "checksum": self.checksum,
            **weights_of(self.module),
            "optimizer": self.optimizer.state_dict(),
            "progress": {name: getattr(self, name) for name in _PROGRESS},
        }
        write_atomically(path, content)

    def go_on_from(self, path: str | Path) -> None:
        """Take up a run where ``save`` left it.

        Raises:
            CheckpointError: the file is damaged, or of another module, other counts or settings.

        """
        content = read(path, FORMAT, "Trainer.fit(…, checkpoint=…)")
        self._check_same_run(content, path)
        load_weights(self.module, content, path)
        self.optimizer.load_state_dict(content["optimizer"])
        for name in _PROGRESS:
            setattr(self, name, content["progress"][name])

    def _check_same_run(self, content: dict, path: str | Path) -> None:
        """A file of another run is refused, not continued and not overwritten."""
        way_out = "Give the new run another path, or delete that file to start anew."
        if content["checksum"] != self.checksum:
            raise CheckpointError(f"{str(path)!r} belongs to a run on other counts. {way_out}")
        for name, value in asdict(self.settings).items():
            theirs = content["settings"].get(name)
            if theirs != value and name not in FREE:
                raise CheckpointError(
                    f"{str(path)!r} belongs to a run with {name}={theirs!r}, this one has "
                    f"{name}={value!r}. {way_out}"
                )


_PROGRESS = ("epoch", "rows", "best_epoch", "best_score", "best_weights", "stopped")


def _row_by_row(values: Tensor) -> Tensor:
    """View a matrix that is stored column by column as its transpose; anything else as it is."""
    values = values.detach()
    return values.T if values.ndim == 2 and values.T.is_contiguous() else values


def _broken(output: object) -> str:
    terms = [
        name for name in ("reconstruction", "kl") if not torch.isfinite(getattr(output, name)).all()
    ]
    return " and ".join(terms) or "loss"


def _checksum(cells: Cells) -> list[int]:
    """Tell two data sets apart: shape, and a checksum of what is where."""
    counts = cells.counts
    crc = 0
    for part in (counts.indptr, counts.indices, counts.data):
        crc = zlib.crc32(part, crc)
    return [*counts.shape, crc]
