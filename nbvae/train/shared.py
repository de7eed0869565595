"""Epochs that several ranks share: each computes the gradient of its part of every minibatch.

The gradient of a minibatch's mean loss is a sum over its cells, divided by their number N. So each
rank sums over its own cells, divides by the N of all, and one addition over the ranks makes it
whole. Nothing is approximated: 1, 2 and 8 ranks take the same steps, up to the order of additions.
All read the same cells in the same order and draw the same noise; each takes its part of both.

PyTorch's DistributedDataParallel hides this addition in a wrapper around the module. It averages
the ranks' means, which gives another number as soon as their parts differ in size, and it sees only
what goes through its ``forward``. Its merit, to send early gradients while later ones are still
computed, saves little with 3 MB of them.
"""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nbvae.data.minibatches import CellTable, Minibatch
from nbvae.module.evaluating import Elbo, device_of, elbo
from nbvae.module.fast import loss_of
from nbvae.module.nbvae import NBVAE
from nbvae.train import ranks
from nbvae.train.divergence import diverged
from nbvae.train.state import TrainingState

TERMS = ("reconstruction", "kl")


class Epochs(Protocol):
    """Another way through an epoch than the loop in ``trainer.py``, with the same result."""

    def train(self, order: np.ndarray, plan: list[tuple[float, float]], noise_seed: int) -> Tensor:
        """Train on the cells in an order; returns the sums of the two terms, (2,), float64."""

    def evaluate(self) -> Elbo:
        """Estimate the ELBO of the held-out cells."""


def epochs_on_ranks(
    state: TrainingState, table: CellTable, train_cells: np.ndarray, held_out_cells: np.ndarray
) -> "SharedEpochs | None":
    """Share epochs with the other processes of this run, if there are any.

    Raises:
        TypeError: the module's noise can't be shared.

    """
    if ranks.size() == 1:
        return None
    if not isinstance(state.module, NBVAE):
        raise TypeError(
            f"Several processes can train an NBVAE, not {type(state.module).__name__}: start one."
        )
    ranks.agree("how many epochs the checkpoint has", state.epoch)
    return SharedEpochs(state, state.module, table, held_out_cells)


class SharedEpochs:
    """Trains and evaluates a module together with the other ranks."""

    def __init__(
        self, state: TrainingState, module: NBVAE, table: CellTable, held_out_cells: np.ndarray
    ) -> None:
        self.state, self.module, self.table = state, module, table
        self.held_out_cells, self.settings = held_out_cells, state.settings

    def train(self, order: np.ndarray, plan: list[tuple[float, float]], noise_seed: int) -> Tensor:
        """Train on the cells in an order: each rank on its part of each minibatch.

        Returns:
            (2,), float64, on the CPU: the reconstruction term and the KL, summed over all cells.

        Raises:
            TrainingDivergedError: a term of any rank, or a weight, is not finite; on all ranks.
            RankError: another process is gone.

        """
        torch.manual_seed(noise_seed)
        sums = torch.zeros(2, dtype=torch.float64)
        device = device_of(self.module)
        minibatches = self.table.minibatches(order, self.settings.batch_size, device)
        for step, minibatch in enumerate(minibatches):
            sums += self._step(minibatch, step, *plan[step])
        if not all(torch.isfinite(weights).all() for weights in self.module.parameters()):
            raise diverged("weights", self.state.epoch, step)
        return sums

    def _step(self, minibatch: Minibatch, step: int, kl_weight: float, rate: float) -> Tensor:
        """Move the weights against the gradient of one minibatch; each rank has a part of it."""
        n_cells, dtype = len(minibatch), self.module.dtype
        n_drawn = getattr(self.module, "n_drawn", self.module.n_latent)  # u of a library, too
        noise = torch.randn(n_cells, n_drawn, dtype=dtype, device=minibatch.device)
        part = slice(*(n_cells * (ranks.rank() + i) // ranks.size() for i in (0, 1)))
        self.module.zero_grad()
        terms = torch.zeros(2, dtype=dtype, device=minibatch.device)
        if part.stop > part.start:
            mine = minibatch.part(part)
            output = loss_of(self.module, mine, kl_weight=kl_weight, noise=noise[part])
            (output.loss * (len(mine) / n_cells)).backward()
            terms = torch.stack([output.reconstruction.sum(), output.kl.sum()]).detach()
        terms = self._add_up(terms).cpu().double()
        broken = [name for name, term in zip(TERMS, terms, strict=True) if not term.isfinite()]
        if broken:  # the same on all ranks, so that none waits for another
            raise diverged(" and ".join(broken), self.state.epoch, step)
        self.state.update_weights(rate)
        return terms

    def _add_up(self, terms: Tensor) -> Tensor:
        """Add the gradients over the ranks, in one piece with the terms, which are returned."""
        weights = [w for w in self.module.parameters() if w.requires_grad]
        for w in weights:
            w.grad = torch.zeros_like(w) if w.grad is None else w.grad
        gradients = [w.grad for w in weights if w.grad is not None]
        together = torch.cat([*(gradient.flatten() for gradient in gradients), terms])
        ranks.sum_over_ranks(together)
        *summed, terms = together.split([*(gradient.numel() for gradient in gradients), 2])
        for gradient, values in zip(gradients, summed, strict=True):
            gradient.copy_(values.view(gradient.shape))  # in place: it may be stored by columns
        return terms

    def evaluate(self) -> Elbo:
        """Estimate the ELBO of the held-out cells.

        Each rank computes it, and takes what the first one finds: another processor may round
        otherwise, and all have to decide alike which epoch is the best and which the last.
        """
        own = elbo(self.module, self.table, indices=self.held_out_cells, seed=self.settings.seed)
        terms = torch.zeros(len(own), dtype=torch.float64, device=device_of(self.module))
        if ranks.first():
            terms += terms.new_tensor(own)
        ranks.sum_over_ranks(terms)
        return Elbo(*terms.tolist())
