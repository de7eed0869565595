"""Training: minibatches, Adam, a held-out split, KL warm-up and early stopping.

The trainer knows nothing of the module but this: ``module(x, kl_weight=…)`` returns ``loss``,
``reconstruction`` and ``kl``.
"""

import copy
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy import sparse
from torch import nn
from tqdm import tqdm

from nbvae.counts import count_matrix, minibatches
from nbvae.evaluation import Elbo, elbo

FORMAT = "nbvae checkpoint 1"


@dataclass(frozen=True)
class TrainerSettings:
    """Everything that decides how a run goes. Each default has its reason beside it."""

    max_epochs: int = 200  # early stopping ends most runs long before
    batch_size: int = 128  # 256 and more end a few nats higher on the same number of epochs
    learning_rate: float = 1e-2  # best held-out ELBO of 2e-3, 5e-3, 1e-2, 2e-2 on two PBMC sets
    kl_warmup_epochs: int = 10  # more dimensions of z in use, for a nat or two; chapter 6
    holdout_fraction: float = 0.1  # cells that training never sees; they decide when to stop
    stratify_by: str | None = None  # a column of obs: each of its groups gives that fraction
    patience: int | None = 20  # epochs without a better held-out ELBO before stopping; None: never
    seed: int = 0  # of the split, the order of the cells and the draws of z
    device: str = "auto"  # CUDA if there is one, else MPS, else CPU
    progress: bool | None = None  # None: a bar in a terminal, nothing in a notebook or a log

    def __post_init__(self) -> None:
        """Refuse settings that can't be meant."""
        _at_least("max_epochs", self.max_epochs, 1)
        _at_least("batch_size", self.batch_size, 1)
        _at_least("kl_warmup_epochs", self.kl_warmup_epochs, 0)
        if self.patience is not None:
            _at_least("patience", self.patience, 1)
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0, not {self.learning_rate}.")
        if not 0 <= self.holdout_fraction < 1:
            raise ValueError(
                f"holdout_fraction must be at least 0 and below 1, not {self.holdout_fraction}."
            )
        if self.kl_warmup_epochs > self.max_epochs:
            raise ValueError(
                f"kl_warmup_epochs ({self.kl_warmup_epochs}) is more than max_epochs "
                f"({self.max_epochs}): training would end before the loss is the ELBO. "
                "Raise max_epochs or shorten the warm-up."
            )


class TrainingDivergedError(FloatingPointError):
    """A term of the loss became NaN or infinite; the module has the last good weights."""


class CheckpointError(ValueError):
    """The file is not a checkpoint of this module; nothing was loaded."""


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

    def fit(self, module: nn.Module, adata: AnnData, *, layer: str | None = None) -> pd.DataFrame:
        """Train a module, from the weights that it has, and leave the best weights in it.

        The best weights are those with the lowest held-out negative ELBO once the KL warm-up is
        over; without held-out cells, the last ones. Ctrl-C ends training early in the same way.
        The same settings, module and counts give the same weights, bit for bit, on a CPU.

        Args:
            module: trained in place and left on the device it was trained on.
            adata: raw counts, cells × genes.
            layer: the layer that holds the counts; ``X`` when left out.

        Returns:
            The history, as in ``Trainer.history``.

        Raises:
            CountsError: the matrix does not hold raw counts.
            ValueError: the module was built for another number of genes, or too few cells.
            TrainingDivergedError: a term of the loss is not finite any more.

        """
        counts = count_matrix(adata, layer=layer)
        self.train_cells, self.held_out_cells = split_cells(
            adata, self.settings.holdout_fraction, self.settings.seed, self.settings.stratify_by
        )
        device = pick_device(self.settings.device)
        module.to(device)
        with torch.random.fork_rng():  # the caller's random numbers go on as if nothing happened
            torch.manual_seed(self.settings.seed)
            self._run(module, counts, device)
        return self.history

    def _run(self, module: nn.Module, counts: sparse.csr_matrix, device: torch.device) -> None:
        """Go through the epochs, keeping the best weights aside."""
        settings = self.settings
        optimizer = torch.optim.Adam(module.parameters(), lr=settings.learning_rate, fused=True)
        order = np.random.default_rng(settings.seed)
        rows, best, best_weights = [], float("inf"), _copy_of(module)
        self.best_epoch, self.stopped = 0, "max_epochs"
        bar = tqdm(
            range(1, settings.max_epochs + 1),
            desc="Training",
            unit="epoch",
            disable=None if settings.progress is None else not settings.progress,
        )
        try:
            for epoch in bar:
                train = self._train_epoch(module, counts, optimizer, order, epoch, device)
                held_out = self._held_out(module, counts)
                rows.append((epoch, self._kl_weight(epoch, 1.0), *train, *held_out))
                bar.set_postfix_str(f"−ELBO {train.neg_elbo:.1f}, held out {held_out.neg_elbo:.1f}")
                if epoch < settings.kl_warmup_epochs:  # the loss is not the ELBO yet
                    self.best_epoch, best_weights = epoch, _copy_of(module)
                    continue
                score = held_out.neg_elbo if len(self.held_out_cells) else -epoch
                if score < best:
                    best, self.best_epoch, best_weights = score, epoch, _copy_of(module)
                elif settings.patience and epoch - self.best_epoch >= settings.patience:
                    self.stopped = "patience"
                    break
        except KeyboardInterrupt:
            self.stopped = "interrupted"
            if not self.best_epoch:  # in the first epoch: the weights of now are all there is
                best_weights = _copy_of(module)
        finally:
            bar.close()
            module.load_state_dict(best_weights)
            self.history = _as_history(rows)

    def _train_epoch(
        self,
        module: nn.Module,
        counts: sparse.csr_matrix,
        optimizer: torch.optim.Optimizer,
        order: np.random.Generator,
        epoch: int,
        device: torch.device,
    ) -> Elbo:
        """Meet each training cell once, in a new order. Returns means over the epoch."""
        module.train()
        cells = order.permutation(self.train_cells)
        sums = torch.zeros(2, dtype=torch.float64)
        for step, x in enumerate(minibatches(counts, cells, self.settings.batch_size, device)):
            progress = min(1.0, (step + 1) * self.settings.batch_size / len(cells))
            output = module(x, kl_weight=self._kl_weight(epoch, progress))
            if not torch.isfinite(output.loss):
                raise TrainingDivergedError(_divergence(_broken(output), epoch, step))
            optimizer.zero_grad(set_to_none=True)
            output.loss.backward()
            optimizer.step()
            terms = torch.stack([output.reconstruction.sum(), output.kl.sum()])
            sums += terms.detach().cpu().double()  # MPS has no doubles
        if not all(torch.isfinite(weights).all() for weights in module.parameters()):
            raise TrainingDivergedError(_divergence("weights", epoch, step))
        reconstruction, kl = (sums / len(cells)).tolist()
        return Elbo(reconstruction + kl, reconstruction, kl)

    def _kl_weight(self, epoch: int, progress: float) -> float:
        """Rise in a line from 0 to 1 over the first ``kl_warmup_epochs`` epochs."""
        warmup = self.settings.kl_warmup_epochs
        return 1.0 if warmup == 0 else min(1.0, (epoch - 1 + progress) / warmup)

    def _held_out(self, module: nn.Module, counts: sparse.csr_matrix) -> Elbo:
        if not len(self.held_out_cells):
            return Elbo(float("nan"), float("nan"), float("nan"))
        return elbo(module, counts, cells=self.held_out_cells, seed=self.settings.seed)

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
            "weights": {name: value.cpu() for name, value in module.state_dict().items()},
            "settings": asdict(self.settings),
            "history": self.history.reset_index().to_dict("list"),
            "train_cells": self.train_cells.tolist(),
            "held_out_cells": self.held_out_cells.tolist(),
            "stopped": self.stopped,
            "best_epoch": self.best_epoch,
        }
        _write_atomically(Path(path), content)

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
        content = _read(Path(path))
        _load_weights(module, content["weights"], path)
        trainer = cls(**content["settings"])
        trainer.history = _as_history(content["history"])
        trainer.train_cells = np.array(content["train_cells"], dtype=int)
        trainer.held_out_cells = np.array(content["held_out_cells"], dtype=int)
        trainer.stopped, trainer.best_epoch = content["stopped"], content["best_epoch"]
        return trainer


_COLUMNS = ["epoch", "kl_weight"] + [
    f"{cells}_{term}" for cells in ("train", "held_out") for term in Elbo._fields
]


def split_cells(
    adata: AnnData, fraction: float, seed: int, stratify_by: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split the cells into training and held-out cells.

    The cells are shuffled, sorted by group, and every (1/fraction)-th is held out: each group
    gives its share, up to one cell.

    Args:
        adata: only its length and ``obs`` are looked at.
        fraction: of the cells to hold out; 0 holds out none.
        seed: of the shuffle.
        stratify_by: column of ``obs`` with the groups; one group when left out.

    Returns:
        Row numbers of the training cells and of the held-out cells, each ascending.

    Raises:
        KeyError: ``obs`` has no such column.
        ValueError: a side would be empty.

    """
    if stratify_by is not None and stratify_by not in adata.obs:
        raise KeyError(f"obs has no column {stratify_by!r} to stratify by.")
    shuffled = np.random.default_rng(seed).permutation(adata.n_obs)
    if stratify_by is not None:
        groups = pd.factorize(adata.obs[stratify_by].astype(str), sort=True)[0]
        shuffled = shuffled[np.argsort(groups[shuffled], kind="stable")]
    steps = np.floor(fraction * np.arange(adata.n_obs + 1) + 0.5)
    held_out = np.diff(steps) > 0
    if fraction > 0 and (held_out.all() or not held_out.any()):
        raise ValueError(
            f"{adata.n_obs} cells can't be split with holdout_fraction={fraction}: one side would "
            "be empty. Set holdout_fraction=0 to train on all of them."
        )
    return np.sort(shuffled[~held_out]), np.sort(shuffled[held_out])


def pick_device(name: str) -> torch.device:
    """Resolve "auto" to CUDA, MPS or CPU, whichever comes first here; other names are taken."""
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _at_least(name: str, value: int, least: int) -> None:
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least}, not {value!r}.")


def _copy_of(module: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(module.state_dict())


def _as_history(rows: list[tuple] | dict[str, list]) -> pd.DataFrame:
    """Give the history its columns and types, also when no epoch was completed."""
    table = pd.DataFrame(rows, columns=_COLUMNS, dtype=float)
    return table.astype({"epoch": int}).set_index("epoch")


def _broken(output: object) -> str:
    terms = [
        name for name in ("reconstruction", "kl") if not torch.isfinite(getattr(output, name)).all()
    ]
    return " and ".join(terms) or "loss"


def _divergence(what: str, epoch: int, step: int) -> str:
    return (
        f"In epoch {epoch}, minibatch {step + 1}, the {what} became NaN or infinite. The module "
        "has the last good weights. Lower learning_rate, or look for extreme counts."
    )


def _write_atomically(path: Path, content: dict) -> None:
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        torch.save(content, part)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _read(path: Path) -> dict:
    if not path.exists():
        raise FileNotFoundError(f"There is no file {str(path)!r}.")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{str(path)!r} is damaged or not a checkpoint of nbvae.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{str(path)!r} was not written by Trainer.save of this version.")
    return content


def _load_weights(module: nn.Module, weights: dict[str, torch.Tensor], path: str | Path) -> None:
    """Load all weights or none."""
    own = module.state_dict()
    for name in sorted(own.keys() | weights.keys()):
        ours, theirs = own.get(name), weights.get(name)
        if ours is None or theirs is None or ours.shape != theirs.shape:
            shapes = [None if value is None else tuple(value.shape) for value in (theirs, ours)]
            raise CheckpointError(
                f"{str(path)!r} belongs to another module: {name} has shape {shapes[0]} in the "
                f"file and {shapes[1]} in the module. Build the module with the arguments of the "
                "one that was saved."
            )
    module.load_state_dict(weights)
