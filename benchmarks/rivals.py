"""The rivals: how each is built and trained, one short function each.

Each gets the same AnnData and does with it what its defaults say. That includes what nbvae does and
scvi-tools does not: held-out cells are evaluated after each epoch, and the best weights kept. Both
train on nine tenths of the cells that they get, in minibatches of 128, and put the rest aside.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.distributions import NegativeBinomial

from benchmarks.task import Fitted, Task
from benchmarks.watch import Watch
from nbvae import NBVAE, Trainer
from nbvae.module import (
    GenerativeOutput,
    InferenceOutput,
    LossOutput,
    kl_to_standard_normal,
)


class Watched(NBVAE):
    """An NBVAE that tells its watch when the trainer has finished an epoch.

    The trainer puts the module in evaluation mode then, and at no other time.
    """

    watch: Watch | None = None

    def train(self, mode: bool = True) -> "Watched":
        """Switch the mode, as ``nn.Module.train``."""
        epoch_ends = self.training and not mode
        super().train(mode)
        if epoch_ends and self.watch is not None:
            self.watch.lap(self)
        return self


class Plain(Watched):
    """The reference: the three steps as they are written in ``NBVAE.forward``, and autograd."""

    def fast_forward(self, x: Tensor, *_: object, **arguments: object) -> LossOutput:
        """Take no shortcut, and nothing that the trainer prepares for one."""
        return self(x, **arguments)


class Textbook(Plain):
    """The formula as PyTorch's own distribution has it: three log-gammas for every count."""

    def loss(
        self,
        x: Tensor,
        inference: InferenceOutput,
        generative: GenerativeOutput,
        *,
        kl_weight: float = 1.0,
    ) -> LossOutput:
        """Compute what ``NBVAE.loss`` computes."""
        logits = generative.log_px_mean - generative.log_theta
        likelihood = NegativeBinomial(generative.theta, logits=logits, validate_args=False)
        reconstruction = -likelihood.log_prob(x).sum(dim=-1)
        kl = kl_to_standard_normal(inference.qz_mean, inference.qz_logvar)
        return LossOutput((reconstruction + kl_weight * kl).mean(), reconstruction, kl)


def fit_nbvae(task: Task, kind: type[Watched] = Watched) -> Fitted:
    """Train an NBVAE by its trainer's defaults."""
    torch.manual_seed(task.seed)
    task.watch.start()
    module = kind.for_counts(task.adata)
    trainer = Trainer(
        seed=task.seed, max_epochs=task.max_epochs, device=task.device, progress=False
    )
    module.watch = task.watch
    history = trainer.fit(module, task.adata)
    task.watch.stop()
    module.watch = None
    return Fitted(module, len(history))


def fit_plain(task: Task) -> Fitted:
    """Train the reference in the same way."""
    return fit_nbvae(task, Plain)


def rival(name: str) -> Callable[[Task], Fitted]:
    """Find a rival by its name. scvi-tools is imported only where it takes part: it is large."""
    if name in OURS:
        return OURS[name]
    from benchmarks.rival_scvi import fit_scvi

    return partial(fit_scvi, plan=SCVI_PLANS[name])


def fit_textbook(task: Task) -> Fitted:
    """Train with the likelihood of torch.distributions in the same way."""
    return fit_nbvae(task, Textbook)


OURS: dict[str, Callable[[Task], Fitted]] = {
    "nbvae": fit_nbvae,
    "plain": fit_plain,
    "textbook": fit_textbook,
}

# Settings of scvi-tools' training plan. By default the learning rate is 1e-3 and the weight of the
# KL term rises over 400 epochs; without that rise, it needs far fewer epochs.
SCVI_PLANS: dict[str, dict[str, float | None]] = {
    "scvi": {},
    "scvi lr=3e-3": {"lr": 3e-3},
    "scvi lr=5e-3": {"lr": 5e-3},
    "scvi lr=1e-2": {"lr": 1e-2},
    "scvi lr=3e-3, no warm-up": {"lr": 3e-3, "n_epochs_kl_warmup": None},
    "scvi lr=5e-3, no warm-up": {"lr": 5e-3, "n_epochs_kl_warmup": None},
    "scvi lr=1e-2, no warm-up": {"lr": 1e-2, "n_epochs_kl_warmup": None},
}
