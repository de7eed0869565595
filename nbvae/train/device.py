"""Epochs on a GPU: all that a step needs is there beforehand; results are read once per epoch.

A step as ``trainer.py`` writes it asks the device four times whether all is well. Between two such
questions a GPU does nothing, and it needs a tenth of a step's time to answer the next. Here the
cells, their order, the noise of z, the learning rates and the weights of the KL term lie on the
device before an epoch begins. A counter there says which step it is. What became of the loss is
noted there as well, and read when the epoch is over.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import numpy as np
import torch
from torch import Tensor

from nbvae.data.minibatches import CellTable
from nbvae.data.resident import CellSupply, send
from nbvae.module.evaluating import BATCH_SIZE, Elbo, device_of, evaluating
from nbvae.module.fast import is_unchanged
from nbvae.module.nbvae import NBVAE
from nbvae.module.static import static_loss
from nbvae.train.divergence import diverged
from nbvae.train.graph import Recorded, forget_kept_graphs
from nbvae.train.state import TrainingState

DEVICES = ("cuda",)  # where this pays
TERMS = ("loss", "reconstruction", "kl")


def epochs_on_device(
    state: TrainingState, table: CellTable, train_cells: np.ndarray, held_out_cells: np.ndarray
) -> "DeviceEpochs | None":
    """Prepare the device for epochs, where there is a GPU and the module has a form for it."""
    if device_of(state.module).type not in DEVICES or not is_unchanged(state.module):
        return None
    return DeviceEpochs(state, table, len(train_cells), held_out_cells)


class DeviceEpochs:
    """Trains and evaluates a module on a device without waiting for it in between.

    Args:
        state: the run, with a module on the device, an ``NBVAE`` as it was written.
        table: the cells.
        n_train: how many of them an epoch trains on.
        held_out_cells: those that are evaluated.

    """

    def __init__(
        self, state: TrainingState, table: CellTable, n_train: int, held_out_cells: np.ndarray
    ) -> None:
        self.state = state
        self.module = cast(NBVAE, state.module)
        self.batch_size, self.seed = state.settings.batch_size, state.settings.seed
        self.device = device_of(state.module)
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.held_out_cells = held_out_cells
        n_steps = -(-n_train // self.batch_size)
        with self._on_stream():
            self.supply = CellSupply(table, self.batch_size, self.device)
            dtype = self.module.dtype
            # Adam's kernel takes a rate in single precision; on a CPU, tests compare doubles
            exact = torch.float32 if self.stream else torch.float64
            self.rows = self._room(n_train, dtype=torch.int64)
            self.noise = self._room(n_train, self.module.n_latent, dtype=dtype)
            self.plan = self._room(n_steps, 2, dtype=exact)
            self.record = self._room(n_steps, len(TERMS), dtype=dtype)
            self.steps_done = self._room(1, dtype=torch.int64)
            self.within = torch.arange(self.batch_size, device=self.device)
            self.held_out_noise = self._held_out_noise()
        self.full_step = Recorded()

    def train(self, order: np.ndarray, plan: list[tuple[float, float]], noise_seed: int) -> Tensor:
        """Train on the cells in an order.

        Args:
            order: (n_train,), row numbers.
            plan: for each step the weight of the KL term and the learning rate.
            noise_seed: of the draws of z.

        Returns:
            (2,), float64, on the CPU: the reconstruction term and the KL, summed over the cells.

        Raises:
            TrainingDivergedError: a term or a weight was not finite; the first step is named.

        """
        forget_kept_graphs(self.module)
        with self._on_stream():
            self.prepare(order, plan, noise_seed)
            self.run_steps(order)
            terms = self.read_terms()
        return terms[:, 1:].sum(dim=0)

    def prepare(self, order: np.ndarray, plan: list[tuple[float, float]], noise_seed: int) -> None:
        """Put on the device what is drawn or decided beforehand."""
        send(self.supply.rows(order), self.rows)
        send(np.array(plan), self.plan)
        self.draw_noise(noise_seed)
        self.steps_done.zero_()

    def draw_noise(self, seed: int) -> None:
        """Draw the noise of z for each cell of an epoch, from a seed that no one else uses."""
        self.noise.normal_(generator=torch.Generator(self.device).manual_seed(seed))

    def run_steps(self, order: np.ndarray) -> None:
        """Queue the steps of an epoch; none is waited for."""
        for piece in self.supply.pieces(order):
            full_steps, left = divmod(len(piece), self.batch_size)
            for _ in range(full_steps):
                self.full_step(lambda: self._step(self.batch_size))
            if left:  # of another shape: only at the end of the last piece
                self._step(left)

    def _step(self, n_cells: int) -> None:
        """Move the weights against the gradient of the next minibatch."""
        cells = self.steps_done * self.batch_size + self.within[:n_cells]  # of the epoch
        x, covariates, library = self.supply.cells.minibatch(self.rows.index_select(0, cells))
        noise = self.noise.index_select(0, cells)
        kl_weight, rate = self.plan.index_select(0, self.steps_done).unbind(1)
        kl_weight = kl_weight.to(noise.dtype)
        output = static_loss(
            self.module,
            x,
            covariates=covariates,
            library=library,
            kl_weight=kl_weight,
            noise=noise,
        )
        self.module.zero_grad()
        output.loss.backward()
        self.state.update_weights(rate)
        terms = torch.stack([output.loss, output.reconstruction.sum(), output.kl.sum()])
        self.record.index_copy_(0, self.steps_done, terms.detach()[None])
        self.steps_done += 1

    def read_terms(self) -> Tensor:
        """Wait for the device: the mean loss of each step and the sums of its terms. (n_steps, 3).

        Raises:
            TrainingDivergedError: as in ``train``.

        """
        weights = torch.cat([weights.detach().flatten() for weights in self.module.parameters()])
        finite = weights.isfinite().all().to(self.record.dtype)
        *record, weights_are_finite = torch.cat([self.record.flatten(), finite[None]]).tolist()
        terms = torch.tensor(record, dtype=torch.float64).view(-1, len(TERMS))
        _check_finite(terms, bool(weights_are_finite), self.state.epoch)
        return terms

    def evaluate(self) -> Elbo:
        """Estimate the ELBO of the held-out cells as ``elbo`` does, with the same noise."""
        rows = self._room(len(self.held_out_cells), dtype=torch.int64)
        terms = []
        with self._on_stream(), evaluating(self.module):
            send(self.supply.rows(self.held_out_cells), rows)
            for piece in self.supply.pieces(self.held_out_cells):
                for start in range(piece.start, piece.stop, BATCH_SIZE):
                    some = slice(start, min(start + BATCH_SIZE, piece.stop))
                    x, covariates, library = self.supply.cells.minibatch(rows[some])
                    noise = self.held_out_noise[some]
                    output = static_loss(
                        self.module, x, covariates=covariates, library=library, noise=noise
                    )
                    terms.append(torch.stack([output.reconstruction, output.kl]))
            means = torch.cat(terms, dim=1).cpu().double().mean(dim=1)
        reconstruction, kl = means.tolist()
        return Elbo(reconstruction + kl, reconstruction, kl)

    def _held_out_noise(self) -> Tensor:
        """Draw what ``elbo`` would: minibatch by minibatch from the same seed. (n_held_out, K)."""
        n_cells = len(self.held_out_cells)
        noise = self._room(n_cells, self.module.n_latent, dtype=self.module.dtype)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            for start in range(0, n_cells, BATCH_SIZE):
                noise[start : start + BATCH_SIZE].normal_()
        return noise

    def _room(self, *shape: int, dtype: torch.dtype) -> Tensor:
        return torch.zeros(*shape, dtype=dtype, device=self.device)

    @contextmanager
    def _on_stream(self) -> Iterator[None]:
        """Let the device work on a stream of its own, since the default one can't be recorded.

        All of the work is on that stream, in the order in which it was asked for.
        """
        if self.stream is None:
            yield
            return
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            yield
        torch.cuda.current_stream(self.device).wait_stream(self.stream)


def _check_finite(terms: Tensor, weights_are_finite: bool, epoch: int) -> None:
    """Say what was not finite first; ``terms`` are those of each step, (n_steps, 3)."""
    finite = terms.isfinite()
    if not finite.all():
        step = int((~finite).any(dim=1).int().argmax())
        broken = [name for name, good in zip(TERMS, finite[step].tolist(), strict=True) if not good]
        raise diverged(" and ".join(broken[1:]) or "loss", epoch, step)
    if not weights_are_finite:
        raise diverged("weights", epoch, len(terms) - 1)
