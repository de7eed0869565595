"""What the trainer and the evaluation ask of a module: a contract, checked by type checkers.

Any ``nn.Module`` whose call returns a ``LossOutput`` keeps it; the chapters train some that are not
an NBVAE. A module with covariates says so by an attribute ``covariates`` and is called with them.
One that knows its ``n_genes`` genes by name has ``genes``; one whose counts are in a layer,
``layer``; one that takes the library from ``obs`` has ``size_factor_key`` and is called with it.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nbvae.data.covariates import Covariates
from nbvae.module.likelihoods import Likelihood
from nbvae.module.outputs import GenerativeOutput, InferenceOutput, LossOutput


class TrainableModule(Protocol):
    """A PyTorch module with a loss."""

    training: bool

    def __call__(
        self,
        x: Tensor,
        *,
        covariates: Tensor | None = None,
        library: Tensor | None = None,
        kl_weight: float = 1.0,
    ) -> LossOutput:
        """Compute the loss of raw counts, (N, G); what is None is left out."""

    # what nn.Module gives
    def parameters(self) -> Iterator[nn.Parameter]: ...
    def train(self, mode: bool = True) -> Any: ...
    def eval(self) -> Any: ...
    def to(self, device: torch.device) -> Any: ...
    def zero_grad(self) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: Mapping[str, Any]) -> Any: ...


class LatentModule(TrainableModule, Protocol):
    """A module with a latent state, as ``NBVAE`` is: what the evaluation asks for in addition."""

    @property
    def covariates(self) -> Covariates | None:
        """What the module has to be told of each cell; None for nothing."""

    @property
    def likelihood(self) -> Likelihood:
        """The distribution of the counts."""

    def inference(self, x: Tensor, *, covariates: Tensor | None = None) -> InferenceOutput:
        """Encode counts, (N, G), to q(z | x) and a draw from it."""

    def generative(
        self, z: Tensor, library: Tensor, *, covariates: Tensor | None = None
    ) -> GenerativeOutput:
        """Decode z, (N, K), and the library, (N, 1), to p(x | z, ℓ)."""
