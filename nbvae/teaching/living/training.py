"""The living figure of chapter 6: training runs to scrub through, and what keeps their frames."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from matplotlib.figure import Figure

from nbvae import NBVAE, Trainer, TrainingDivergedError, evaluation
from nbvae.teaching.living.counts import LARGEST, whole
from nbvae.teaching.living.figure import LivingFigure, packed

EPOCHS = (0, 1, 2, 3, 4, 5, 7, 9, 12, 15, 19, 24, 30)  # that are kept; the first change the most
EDGES = np.logspace(-1, 2, 16)  # of the histogram of θ; what lies outside counts to the ends
REACH = 7.0  # of the map, in the prior's standard deviations
SHOWN = 350  # cells on the map, at most


class Frame(NamedTuple):
    """What a module says after an epoch."""

    mean: np.ndarray  # of q(z | x), (n_cells, n_latent)
    kl: np.ndarray  # of each dimension, the mean over the cells in nats, (n_latent,)
    theta: np.ndarray  # (n_genes,); infinite for Poisson counts


class Watched(Trainer):
    """A trainer that keeps a frame after some of its epochs.

    Args:
        settings: as of ``Trainer``, for a run of as many epochs as the last of ``EPOCHS``.

    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(max_epochs=EPOCHS[-1], **settings)
        self.frames: list[Frame] = []

    def watch(self, module: NBVAE, adata: AnnData) -> "Watched":
        """Fit a module; the first frame is of the module before. A run that breaks just ends."""
        self.module, self.adata, self.frames = module, adata, [_frame(module, adata)]
        with suppress(TrainingDivergedError):
            self.fit(module, adata)
        return self

    def _end_epoch(self, *run: Any, **named: Any) -> None:
        super()._end_epoch(*run, **named)
        if run[0].epoch in EPOCHS:  # the state of the run
            self.frames.append(_frame(self.module, self.adata))


def training_scrubber(
    runs: Mapping[str, Watched],
    signs: Mapping[str, str],
    *,
    no_z: float,
    still: Figure | None = None,
) -> LivingFigure:
    """Let the reader go through the epochs of runs without names, and name them.

    Args:
        runs: of one table of cells, watched, in the order in which they get letters.
        signs: for each run, by its name, what gives it away.
        no_z: what a model without z scores, in nats.
        still: the picture for where scripts do not run.

    """
    adata = next(iter(runs.values())).adata
    shown = np.linspace(0, adata.n_obs - 1, min(SHOWN, adata.n_obs)).astype(int)
    values = {
        "types": "".join(str(kind % 10) for kind in kinds(adata)[shown]),
        "library": _whole(np.asarray(adata.X.sum(1)).ravel()[shown]),
        "relative": packed(_less_type(adata, _log_library(adata))[shown, 0], "<f2"),
        "epochs": EPOCHS,
        "names": list(runs),
        "signs": [signs[name] for name in runs],
        "bins": list(EDGES.round(3)),
    }
    trained = {"noZ": round(no_z, 1), "runs": [_run(run, shown) for run in runs.values()]}
    label = "Training runs to scrub through and to name"
    return LivingFigure("training_scrubber", label, values, trained=trained, still=still)


def kinds(adata: AnnData) -> np.ndarray:
    """Return the cells' types as numbers from 0; where the table has none, all are 0."""
    if "cell_type" not in adata.obs:
        return np.zeros(adata.n_obs, dtype=int)
    return adata.obs["cell_type"].astype("category").cat.codes.to_numpy()


def library_in(mean: np.ndarray, adata: AnnData) -> float:
    """Return how much of log ℓ a linear map of z tells within the cell types: R², 0 to 1."""
    left = _less_type(adata, np.column_stack([_log_library(adata), mean]))
    goal, z = left[:, 0], left[:, 1:]
    missed = goal - z @ np.linalg.lstsq(z, goal, rcond=1e-6)[0]
    return float(1 - (missed @ missed) / (goal @ goal))


def _log_library(adata: AnnData) -> np.ndarray:
    """Return log ℓ of each cell."""
    return np.log(np.asarray(adata.X.sum(1)).ravel())


def _less_type(adata: AnnData, columns: np.ndarray) -> np.ndarray:
    """Subtract from each column the mean of the cell's type. (n_cells, n_columns)."""
    table = pd.DataFrame(columns)
    return (table - table.groupby(kinds(adata)).transform("mean")).to_numpy()


def on_map(frames: list[Frame]) -> list[np.ndarray]:
    """Return z along the two directions in which the last frame's cells differ most."""
    last = frames[-1].mean - frames[-1].mean.mean(0)
    _, _, directions = np.linalg.svd(last, full_matrices=False)
    return [frame.mean @ directions[:2].T for frame in frames]


def _run(run: Watched, shown: np.ndarray) -> dict[str, str]:
    """Return a run as text: curves in tenths of nats, and what each frame has.

    Raises:
        ValueError: nothing was watched.

    """
    if run.history is None:
        raise ValueError("A run has no frames before it is watched: call watch first.")
    frames = [*run.frames, *run.frames[-1:] * (len(EPOCHS) - len(run.frames))]
    rows = run.history.reindex(range(1, EPOCHS[-1] + 1)).ffill().fillna(LARGEST)  # if it broke
    curves = rows[["train_neg_elbo", "held_out_neg_elbo", "held_out_kl"]].to_numpy().T
    bytes_of = [np.rint(255 * np.clip(0.5 + z[shown] / (2 * REACH), 0, 1)) for z in on_map(frames)]
    told = [library_in(frame.mean, run.adata) for frame in frames]
    return {
        "curves": _whole(10 * curves),
        "map": _whole(np.stack([x + 256 * y for x, y in (pair.T for pair in bytes_of)])),
        "kl": _whole(1000 * np.stack([frame.kl for frame in frames])),
        "theta": _whole(np.stack([_histogram(frame.theta) for frame in frames])),
        "median": _whole(100 * np.array([np.median(frame.theta) for frame in frames])),
        "told": _whole(1000 * np.array(told)),
    }


def _frame(module: NBVAE, adata: AnnData) -> Frame:
    latent = evaluation.encode(module, adata)
    log_theta = module.log_theta
    theta = np.full(module.n_genes, np.inf)
    if log_theta is not None:
        theta = log_theta.detach().exp().cpu().numpy()
    return Frame(latent.mean, latent.kl.mean(0), theta)


def _histogram(theta: np.ndarray) -> np.ndarray:
    """Count θ; in the last place, those that are infinite."""
    finite = theta[np.isfinite(theta)]
    counts, _ = np.histogram(np.clip(finite, EDGES[0], EDGES[-1]), EDGES)
    return np.append(counts, len(theta) - len(finite))


def _whole(numbers: np.ndarray) -> str:
    return whole(np.clip(np.rint(numbers), 0, LARGEST))
