"""The same model twice: a VAE of scvi-tools, and an NBVAE with its weights.

They differ in one thing that a copy has to bridge: scvi-tools' mean and variance share the first
layer of the encoder, ours each have their own. Both of ours get the shared one, so that the sum of
their gradients is the gradient of the shared one.
"""

import torch
from scvi import REGISTRY_KEYS
from scvi.module import VAE
from torch import nn

from nbvae import NBVAE, Covariates

N_LATENT = 10


def scvi_vae(n_genes, *, likelihood="nb", n_batches=0, encode_covariates=False):
    """Build scvi-tools' VAE without what NBVAE does not have: normalisation and dropout."""
    module = VAE(
        n_genes,
        n_batch=n_batches,
        n_hidden=128,
        n_latent=N_LATENT,
        n_layers=1,
        dropout_rate=0,
        dispersion="gene",
        gene_likelihood=likelihood,
        log_variational=True,
        use_batch_norm="none",
        use_layer_norm="none",
        use_observed_lib_size=True,
        encode_covariates=encode_covariates,
    )
    module.z_encoder.var_eps = 0.0  # a floor under the variance, 1e-4, that the formulas don't have
    return module


def with_weights_of(theirs, covariates: Covariates | None = None):
    """Build an NBVAE whose weights are those of scvi-tools' module."""
    ours = NBVAE(
        theirs.n_input,
        N_LATENT,
        likelihood=theirs.gene_likelihood,
        covariates=covariates,
        encode_covariates=theirs.encode_covariates,
    )
    with torch.no_grad():
        for mine, yours in _pairs(ours, theirs):
            mine.copy_(yours)
    return ours.to(next(theirs.parameters()).dtype)


def run_theirs(theirs, x, *, batch=None, kl_weight=1.0):
    """Run scvi-tools' three steps. Returns its loss output and the noise behind its draw of z."""
    inference, _, output = theirs(
        _as_loaded(x, batch), loss_kwargs={"kl_weight": kl_weight}, compute_loss=True
    )
    qz, z = inference["qz"], inference["z"]
    return output, ((z - qz.loc) / qz.scale).detach()


def _as_loaded(x, batch):
    """What scvi-tools' data loader would hand to its module."""
    zeros = torch.zeros(len(x), 1, dtype=torch.long)
    codes = zeros if batch is None else batch[:, None]
    return {
        REGISTRY_KEYS.X_KEY: x,
        REGISTRY_KEYS.BATCH_KEY: codes,
        REGISTRY_KEYS.LABELS_KEY: zeros,
    }


def gradients(ours, theirs):
    """Pair the gradients of each weight of scvi-tools with the (sum of the) gradients of ours."""
    sums = {}
    for mine, yours in _pairs(ours, theirs):
        total, _ = sums.get(id(yours), (0, None))
        sums[id(yours)] = total + mine.grad, yours.grad
    return list(sums.values())


def _pairs(ours, theirs):
    """Each parameter of ours beside the one of theirs that it corresponds to."""
    encoder, decoder = theirs.z_encoder, theirs.decoder
    shared, decoded = _only_linear(encoder.encoder), _only_linear(decoder.px_decoder)
    layers = [
        (ours.mean_encoder, shared, encoder.mean_encoder),
        (ours.logvar_encoder, shared, encoder.var_encoder),
        (ours.decoder, decoded, decoder.px_scale_decoder[0]),
    ]
    if ours.dropout_decoder is not None:
        layers.append((ours.dropout_decoder, decoded, decoder.px_dropout_decoder))
    for mlp, first, last in layers:
        yield mlp.layers[0].weight, first.weight
        yield mlp.layers[0].bias, first.bias
        yield mlp.layers[2].weight, last.weight
        yield mlp.layers[2].bias, last.bias
    if ours.log_theta is not None:
        yield ours.log_theta, theirs.px_r


def _only_linear(layers):
    (linear,) = [layer for layer in layers.modules() if isinstance(layer, nn.Linear)]
    return linear
