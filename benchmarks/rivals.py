"""The rivals: how each is built and trained, under a watch.

Each gets the same AnnData and does with it what its defaults say. That includes what nbvae does and
scvi-tools does not: held-out cells are evaluated after each epoch, and the best weights kept. Both
train on nine tenths of the cells that they get, in minibatches of 128, and put the rest aside.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any, Self

import numpy as np
import torch
from anndata import AnnData
from torch import Tensor, nn
from torch.distributions import NegativeBinomial

from benchmarks.plan import SCVI_PLANS, Spec
from nbvae import NBVAE, GenerativeOutput, InferenceOutput, Trainer
from nbvae.module.likelihoods import LIKELIHOODS
from nbvae.module.protocol import LatentModule

WARM_UP_CELLS = 256
DENSE_UNTIL, GROWTH = 40, 1.03  # a point each epoch, later whenever the epoch has grown by that
Look = Callable[[LatentModule], float]


class Watch:
    """A stopwatch that stands still while ``look`` is called with the module, at some epochs."""

    def __init__(self, look: Look | None = None) -> None:
        self.look = look
        self.laps: list[float] = []  # seconds from the start to the end of each epoch
        self.points: list[tuple[int, float, float]] = []  # epoch, seconds, what was seen
        self.next = 1.0
        self.start = perf_counter()

    def seconds(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return perf_counter() - self.start

    def lap(self, module: LatentModule) -> None:
        """Note that an epoch is over."""
        self.laps.append(self.seconds())
        epoch = len(self.laps)
        if self.look is not None and epoch >= self.next:
            self.points.append((epoch, self.laps[-1], self.look(module)))
            self.next = epoch + 1 if epoch < DENSE_UNTIL else epoch * GROWTH
            self.start += self.seconds() - self.laps[-1]


def timed_fit(
    adata: AnnData, spec: Spec, look: Look | None = None
) -> tuple[LatentModule, Watch, dict[str, float]]:
    """Train a rival, after a warm-up that isn't counted (the first optimizer takes a second)."""
    fit(adata[:WARM_UP_CELLS].copy(), spec._replace(max_epochs=1), Watch())
    watch = Watch(look)
    module = fit(adata, spec, watch)
    fit_s = watch.seconds()
    epoch_s = np.diff(watch.laps) if len(watch.laps) > 1 else watch.laps  # the first sets up
    times = {"epochs": len(watch.laps), "epoch_s": float(np.median(epoch_s)), "fit_s": fit_s}
    return module, watch, times


def fit(adata: AnnData, spec: Spec, watch: Watch) -> LatentModule:
    """Train a rival by its defaults. Returns an NBVAE, or what looks like one."""
    if spec.rival in SCVI_PLANS:
        return fit_scvi(adata, spec, watch)
    module = Watched.for_counts(adata, seed=spec.seed)
    module.likelihood, module.watch = VARIANTS[spec.rival], watch
    trained(adata, spec.seed, module, max_epochs=spec.max_epochs, device=spec.device)
    module.watch = None
    return module


def trained(adata: AnnData, seed: int, module: NBVAE | None = None, **settings: Any) -> NBVAE:
    """Train a module, on the CPU where ``settings``, the trainer's, say nothing else."""
    module = module or NBVAE.for_counts(adata, seed=seed)
    settings = {"device": "cpu", "progress": False, **settings}
    Trainer(seed=seed, **settings).fit(module, adata)
    return module


class Watched(NBVAE):
    """Tells its watch when the trainer has finished an epoch: then it sets evaluation mode."""

    watch: Watch | None = None

    def train(self, mode: bool = True) -> Self:
        epoch_ends = self.training and not mode
        super().train(mode)
        if epoch_ends and self.watch is not None:
            self.watch.lap(self)
        return self


def textbook(x: Tensor, p: GenerativeOutput) -> Tensor:
    """The formula as PyTorch's own distribution has it: three log-gammas for every count."""
    assert p.log_theta is not None
    logits = p.log_px_mean - p.log_theta
    return NegativeBinomial(p.log_theta.exp(), logits=logits, validate_args=False).log_prob(x)


def plain(x: Tensor, p: GenerativeOutput) -> Tensor:
    """The package's own formula, as another function than the one that has a shortcut."""
    return NB.log_prob(x, p)


NB = LIKELIHOODS["nb"]
VARIANTS = {
    "nbvae": NB,
    "plain": NB._replace(log_prob=plain),
    "textbook": NB._replace(log_prob=textbook),
}


def fit_scvi(adata: AnnData, spec: Spec, watch: Watch, batch_size: int = 128) -> LatentModule:
    """Train scvi-tools' model by its defaults, but for the settings that the rival's name says."""
    model = trained_scvi(
        adata,
        spec.seed,
        lambda _, plan: watch.lap(ScviFace(plan.module)),
        max_epochs=spec.max_epochs,
        accelerator="gpu" if spec.device == "cuda" else spec.device,
        batch_size=batch_size,
        plan_kwargs=SCVI_PLANS[spec.rival],
    )
    return ScviFace(model.module)


def trained_scvi(
    adata: AnnData,
    seed: int,
    after_epoch: Callable[[Any, Any], None] = lambda *_: None,
    batch_key: str | None = None,
    **settings: Any,
) -> Any:
    """Train scvi-tools' model with our likelihood, on the CPU unless ``settings`` say otherwise."""
    import scvi  # large: only where it takes part
    from lightning.pytorch.callbacks import LambdaCallback

    scvi.settings.seed = seed
    scvi.model.SCVI.setup_anndata(adata, batch_key=batch_key)
    model = scvi.model.SCVI(adata, gene_likelihood="nb")  # 128 hidden units, 10 dimensions, as ours
    callbacks = [LambdaCallback(on_train_epoch_end=after_epoch)]
    settings = {"accelerator": "cpu", "devices": 1, "callbacks": callbacks, **settings}
    model.train(enable_progress_bar=False, **settings)
    return model


class ScviFace(nn.Module):
    """A VAE of scvi-tools that looks like an NBVAE, so that one code evaluates both.

    Its networks answer, with whatever normalisation layers they have; the formulas of the ELBO are
    those of NBVAE. tests/parity shows that the result is scvi-tools' own.
    """

    covariates = None
    size_factor_key = None
    likelihood = NB
    loss = NBVAE.loss
    forward = NBVAE.forward
    vae: Any  # scvi-tools can't be imported here just for its type

    def __init__(self, vae: nn.Module) -> None:
        super().__init__()
        self.vae = vae  # shared, not copied; one batch, negative binomial, a θ per gene

    def inference(self, x: Tensor, *, noise: Tensor | None = None, **_: Any) -> InferenceOutput:
        q, z = self.vae.z_encoder(torch.log1p(x), x.new_zeros(len(x), 1))
        if noise is not None:
            z = q.loc + q.scale * noise
        return InferenceOutput(q.loc, 2 * q.scale.log(), z)

    def generative(self, z: Tensor, library: Tensor, **_: Any) -> GenerativeOutput:
        decoder = self.vae.decoder
        logits = decoder.px_scale_decoder[0](decoder.px_decoder(z, z.new_zeros(len(z), 1)))
        log_px_scale = torch.log_softmax(logits, dim=-1)
        return GenerativeOutput(log_px_scale, library.log() + log_px_scale, self.vae.px_r)
