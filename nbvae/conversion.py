"""From scvi-tools: a module with the weights of one of theirs, and the same loss.

In their encoder, mean and variance share the hidden layers; ours has separate ones, so both get a
copy. Batch normalisation, once its means and variances stand still, is a product and a sum
for each hidden unit, and goes into the layer before it.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from nbvae._arguments import kind_of
from nbvae._messages import shown
from nbvae.data.covariate import Category, Number
from nbvae.data.covariates import Covariates
from nbvae.module.library import ModelledLibrary
from nbvae.module.likelihoods import LIKELIHOODS
from nbvae.module.mlp import MLP
from nbvae.module.nbvae import NBVAE

Linear = tuple[Tensor, Tensor]  # weights and biases
WANTED: dict[str, tuple[object, ...]] = {  # of their module, what has a counterpart here
    "dispersion": ("gene", "gene-batch"),
    "gene_likelihood": tuple(LIKELIHOODS),
    "latent_distribution": ("normal",),
    "batch_representation": ("one-hot",),
}


def from_scvi(model: Any) -> NBVAE:
    """Build an ``NBVAE`` of a model of scvi-tools: genes, layer, covariates, size factors, weights.

    Its loss is theirs in evaluation mode, when dropout does nothing and batch normalisation uses
    what it has learned. A model with ``use_observed_lib_size=False`` becomes a
    ``ModelledLibrary``, where ``kl_weight`` also weights the KL of the library; theirs stays at 1.
    Two small numbers are left out. They add 1e-4 (``var_eps``) to the variances of q(z | x), which
    changes a cell's KL by at most ½ · 1e-4 · Σ 1/variance. And they add 1e-8 to μ and θ inside
    logarithms, which bounds the loss of a cell where a gene with counts is expected to have hardly
    any, as with covariates that are far from 0 and not standardised.

    Args:
        model: an ``scvi.model.SCVI``, trained or not.

    Returns:
        The module, on the CPU.

    Raises:
        TypeError: it is not one.
        ValueError: it has parts that an ``NBVAE`` lacks; all of them are named.

    """
    theirs: Any = getattr(model, "module", None)
    if type(model).__name__ != "SCVI" or type(theirs).__name__ != "VAE":
        raise TypeError(f"model must be an scvi.model.SCVI, not {kind_of(model)}.")
    if differences := list(_differences(theirs)):
        raise ValueError(
            f"This model has what an NBVAE has not: {'; '.join(differences)}. Train an NBVAE on "
            "its counts instead: NBVAE.for_counts(adata)."
        )
    fields = model.adata_manager.registry["field_registries"]
    covariates = _covariates(fields, theirs)
    kind = NBVAE if theirs.use_observed_lib_size else ModelledLibrary
    module = kind(
        theirs.n_input,
        theirs.n_latent,
        n_hidden=theirs.n_hidden,
        n_layers=theirs.n_layers,
        likelihood=theirs.gene_likelihood,
        dispersion=_dispersion(theirs),
        covariates=covariates,
        encode_covariates=theirs.encode_covariates and covariates is not None,
        size_factor_key=_key(fields["size_factor"]) if theirs.use_size_factor_key else None,
    )
    module.genes = tuple(map(str, fields["X"]["state_registry"]["column_names"]))
    where = fields["X"]["data_registry"]
    module.layer = where["attr_key"] if where["attr_name"] == "layers" else None
    _copy_weights(module, theirs)
    return module


def _differences(theirs: Any) -> Iterator[str]:
    """Name each part that has no counterpart here."""
    for name, values in WANTED.items():
        if (value := getattr(theirs, name)) not in values:
            yield f"{name}={value!r} (here: {shown(map(str, values))})"
    if not theirs.log_variational:
        yield "log_variational=False (here: True)"
    if theirs.z_encoder.var_activation is not torch.exp:
        yield "a var_activation (here: exp)"
    networks = {"z_encoder": theirs.z_encoder.encoder, "decoder": theirs.decoder.px_decoder}
    if not theirs.use_observed_lib_size:
        networks["l_encoder"] = theirs.l_encoder.encoder
    for name, network in networks.items():
        if any(layer.in_features != theirs.n_hidden for layer in _linear(network)[1:]):
            yield f"covariates told to deeper layers of its {name}, too (deeply_inject_covariates)"
    known = (nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout)
    for name, network in networks.items():
        for layer in network.modules():
            if not list(layer.children()) and not isinstance(layer, known):
                yield f"{type(layer).__name__} in its {name}"


def _covariates(fields: dict[str, Any], theirs: Any) -> Covariates | None:
    """List what their networks are told, in their order: numbers, the batch, further categories.

    A category with one level has no column there, and their numbers are not standardised.
    """
    state = {name: field["state_registry"] for name, field in fields.items()}
    numbers = state.get("extra_continuous_covs", {}).get("columns", [])
    categories = [(_key(fields["batch"]), state["batch"]["categorical_mapping"])]
    categories += list(state.get("extra_categorical_covs", {}).get("mappings", {}).items())
    columns: list[Category | Number] = [Number(str(key), 0.0, 1.0) for key in numbers]
    columns += [
        Category(key, tuple(map(str, levels))) for key, levels in categories if len(levels) > 1
    ]
    return Covariates(tuple(columns)) if columns else None


def _dispersion(theirs: Any) -> str:
    """Return their dispersion; with a single batch, or without θ, it is one per gene."""
    has_several = theirs.n_batch > 1 and LIKELIHOODS[theirs.gene_likelihood].has_theta
    return str(theirs.dispersion) if has_several else "gene"


def _key(field: dict[str, Any]) -> str:
    """Return the column of ``obs`` that a field was read from."""
    original = field["state_registry"].get("original_key")
    return str(original or field["data_registry"]["attr_key"])


@torch.no_grad()
def _copy_weights(module: NBVAE, theirs: Any) -> None:
    """Give each perceptron its hidden layers, without normalisation, and its last one."""
    encoder, decoder = theirs.z_encoder, theirs.decoder
    seen, decoded = _hidden(encoder.encoder), _hidden(decoder.px_decoder)
    _fill(module.mean_encoder, seen, encoder.mean_encoder)
    _fill(module.logvar_encoder, seen, encoder.var_encoder)
    _fill(module.decoder, decoded, decoder.px_scale_decoder[0])
    if module.dropout_decoder is not None:
        _fill(module.dropout_decoder, decoded, decoder.px_dropout_decoder)
    if isinstance(module, ModelledLibrary):
        of_library = theirs.l_encoder
        seen = _hidden(of_library.encoder)
        _fill(module.library_encoder, seen, of_library.mean_encoder, of_library.var_encoder)
        module.library_log_mean.copy_(theirs.library_log_means)
        module.library_log_sd.copy_(theirs.library_log_vars.sqrt())
    if module.log_theta is not None:
        module.log_theta.copy_(theirs.px_r.view(module.log_theta.shape))  # of one batch: (G, 1)


def _fill(mlp: MLP, hidden: list[Linear], *last: nn.Linear) -> None:
    """Give a perceptron these layers; several last ones stand side by side in its last."""
    end = torch.cat([one.weight for one in last]), torch.cat([one.bias for one in last])
    for own, (weight, bias) in zip(_linear(mlp), [*hidden, end], strict=True):
        own.weight.copy_(weight)
        own.bias.copy_(bias)


def _linear(network: nn.Module) -> list[nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


def _hidden(network: Any) -> list[Linear]:
    """Read hidden layers: γ (Wx + b − mean)/√(variance + ε) + β is one product and one sum."""
    read = []
    for block in network.fc_layers:
        [linear] = _linear(block)
        weight, bias = linear.weight.data, linear.bias.data
        for norm in (layer for layer in block.modules() if isinstance(layer, nn.BatchNorm1d)):
            mean, variance = norm.running_mean, norm.running_var
            if mean is None or variance is None:
                raise ValueError(
                    "Its batch normalisation keeps no means, so that a cell has no loss of its own."
                )
            scale = norm.weight / (variance + norm.eps).sqrt()  # (n_hidden,)
            weight, bias = scale[:, None] * weight, scale * (bias - mean) + norm.bias
        read.append((weight, bias))
    return read
