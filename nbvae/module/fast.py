"""The fast way through a module: the same loss and the same gradients in less time.

The story is told in ``nbvae.py``. That code also runs wherever a module is not exactly what this
shortcut knows: the negative binomial, one θ per gene, the steps and networks as they are written
there, no hooks.
"""

from collections.abc import Callable, Iterable
from typing import TypeGuard, cast

import torch
from torch import Tensor, nn

from nbvae.data.minibatches import Minibatch
from nbvae.module.kernels import log_counts_product, nb_reconstruction
from nbvae.module.likelihoods import LIKELIHOODS
from nbvae.module.mlp import LINKS, MLP
from nbvae.module.nbvae import NBVAE, kl_to_standard_normal, reparametrise
from nbvae.module.outputs import LossOutput
from nbvae.module.protocol import TrainableModule
from nbvae.module.saving import HOOKS
from nbvae.module.static import has_kernels, static_loss

STEPS = ("forward", "inference", "generative", "loss", "with_covariates", "check_input")


def loss_of(
    module: TrainableModule,
    minibatch: Minibatch,
    *,
    kl_weight: float = 1.0,
    noise: Tensor | None = None,
) -> LossOutput:
    """Compute the loss of a minibatch, by the shortcut where there is one.

    Args:
        module: called as ``module(x, kl_weight=…)``, and with ``covariates`` if it has some.
        minibatch: of raw counts.
        kl_weight: weight of the KL term; 1 is the ELBO.
        noise: (N, K), to fix the draw of z; fresh standard normal numbers when left out.

    Returns:
        What the module returns: ``loss``, and ``reconstruction`` and ``kl`` of each cell.

    """
    options = {
        "covariates": minibatch.covariates,
        "noise": noise,
        "library": minibatch.size_factors,
    }
    if has_shortcut(module):
        if torch.device(minibatch.device).type != "cpu":
            return static_loss(module, minibatch.x, kl_weight=kl_weight, **options)
        if minibatch.x.dtype == module.dtype:
            return fast_forward(module, minibatch, kl_weight=kl_weight, noise=noise)
    given = {name: value for name, value in options.items() if value is not None}
    return module(minibatch.x, kl_weight=kl_weight, **given)


def has_shortcut(module: object) -> TypeGuard[NBVAE]:
    """Whether the shortcut computes what the module's ``forward`` does."""
    return is_unchanged(module) and has_kernels(module)


def is_unchanged(module: object) -> TypeGuard[NBVAE]:
    """Whether a module is an ``NBVAE`` as it is written there, with a likelihood of the package."""
    if not isinstance(module, NBVAE):
        return False
    others = [module.mean_encoder, module.logvar_encoder, module.dropout_decoder]
    return (
        module.likelihood in LIKELIHOODS.values()
        and _unchanged(module, NBVAE, STEPS)
        and _is_mlp(module.decoder, LINKS[module.decoder_link])
        and all(_is_mlp(network, None) for network in others if network is not None)
        and not any(getattr(part, hook) for part in module.modules() for hook in HOOKS)
    )


def _unchanged(module: nn.Module, cls: type[nn.Module], names: Iterable[str]) -> bool:
    """Whether neither a subclass nor someone from outside has replaced these methods."""
    return all(
        getattr(type(module), name) is getattr(cls, name) and name not in vars(module)
        for name in names
    )


def _is_mlp(network: nn.Module, link: Callable[[Tensor], Tensor] | None) -> bool:
    """Whether a network is Linear → ReLU, once or more, → Linear and this link."""
    return (
        isinstance(network, MLP)
        and _unchanged(network, MLP, ("forward",))
        and [type(layer) for layer in network.layers] == _alternating(len(network.layers))
        and network.link is link
    )


def _alternating(n: int) -> list[type[nn.Module]]:
    return [nn.ReLU if i % 2 else nn.Linear for i in range(max(n, 3))]


def fast_forward(
    module: NBVAE, minibatch: Minibatch, *, kl_weight: float = 1.0, noise: Tensor | None = None
) -> LossOutput:
    """Compute what ``module.forward`` does, for a module that has the shortcut."""
    module.check_input(minibatch.x, minibatch.covariates)
    qz_mean, qz_logvar = (
        _encode(module, encoder, minibatch)
        for encoder in (module.mean_encoder, module.logvar_encoder)
    )
    z = reparametrise(qz_mean, qz_logvar, noise)
    logits = module.decoder.layers(module.with_covariates(z, minibatch.covariates))  # (N, G)
    log_theta = cast(Tensor, module.log_theta)  # a negative binomial has one
    reconstruction = nb_reconstruction(minibatch.x, minibatch.sparse, logits, log_theta)
    kl = kl_to_standard_normal(qz_mean, qz_logvar)  # (N,)
    return LossOutput((reconstruction + kl_weight * kl).mean(), reconstruction, kl)


def _encode(module: NBVAE, encoder: MLP, minibatch: Minibatch) -> Tensor:
    """Run an encoder on log1p(x), whose first layer sees mostly zeros. (N, K)."""
    first = encoder.input_layer
    if module.encode_covariates and minibatch.covariates is not None:
        n_columns = minibatch.covariates.shape[1]
        of_genes, of_covariates = first.weight.split([module.n_genes, n_columns], dim=1)
        hidden = log_counts_product(minibatch.sparse, of_genes)
        hidden = hidden + minibatch.covariates @ of_covariates.T
    else:  # without a split, whose gradient would be copied
        hidden = log_counts_product(minibatch.sparse, first.weight)
    return encoder.layers[1:](hidden + first.bias)
