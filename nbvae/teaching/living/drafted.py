"""The draft of chapter 5 with each error mended by its smallest repair, and the way back.

All errors put back give the draft as it was handed in, letter for letter.
"""

from typing import NamedTuple


class Slip(NamedTuple):
    """One error: how it is put into the mended text, and what it does."""

    name: str
    edits: tuple[tuple[str, str], ...]  # what is meant, what is written instead
    effect: str
    seen_at: str = ""  # what a line holds that is right to touch besides those that differ
    drafted: bool = True  # else it is a repair that only looks like one


IMPORTS = """
from torch.distributions import NegativeBinomial, Normal
from torch.distributions import kl_divergence as kl
"""

MENDED = f"""
import torch
from torch import nn
{IMPORTS.strip()}

class MyNeuralNetwork(nn.Module):

    def __init__(self, n_input: int, n_output: int, link_var = None):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(n_input, 128),
            nn.ReLU(),
            nn.Linear(128, n_output)
        )

        if link_var is None:
            self.transformation = None
        elif link_var == "softmax":
            self.transformation = nn.Softmax(dim=-1)
        elif link_var == "exp":
            self.transformation = torch.exp
        else:
            self.transformation = link_var

    def forward(self, x: torch.Tensor):
        output = self.model(x)
        if self.transformation is not None:
            return self.transformation(output)
        else:
            return output

class MyModule(nn.Module):
    def __init__(self, n_input: int, n_latent: int = 10):
        super().__init__()

        # Setup our decoder module
        self.decoder = MyNeuralNetwork(n_latent, n_input, "softmax")
        # Log
        self.log_theta = torch.nn.Parameter(torch.randn(n_input))

        # Setup the parameters of the variational distribution
        # Still don't really understand wtf this means.
        # means are normal, and we encode the logvar
        self.mean_encoder = MyNeuralNetwork(n_input, n_latent, None)
        self.var_encoder = MyNeuralNetwork(n_input, n_latent, None)

    def inference(self, x: torch.Tensor):
        x_ = torch.log1p(x)
        # We learn the means and the variances of the underlying encoder.
        qz_m = self.mean_encoder(x_)
        qz_v = self.var_encoder(x_)

        # We literally draw from the underlying distribution, so we get an
        # understanding of if the noise we're predicting is correct or not.
        z = Normal(qz_m, torch.exp(0.5 * qz_v)).rsample()

        # We'll return all the values out.
        return {{
            "qz_m": qz_m,
            "qz_v": qz_v,
            "z": z,
        }}

    def _get_generative_input(self, X: torch.Tensor, inf_out: dict[str, torch.Tensor]):

        # We want the latent dimension predicted (or really sampled) and get
        # the library size (size factors) for each one.
        return {{
            "z": inf_out["z"],
            "library": torch.sum(X, axis=1, keepdim=True)
        }}

    def generative(self, z: torch.Tensor, library: torch.Tensor):
        # Return means for the negative binomial model.
        px_scale = self.decoder(z)

        # compute means
        px_mean = library * px_scale

        # dispersion
        theta = torch.exp(self.log_theta)

        return {{
            "px_scale": px_scale,
            "px_mean": px_mean,
            "theta": theta,
        }}

    def loss(self, tensors, inference_outputs, generative_outputs):
        x = tensors["x"]
        px_rate = generative_outputs["px_mean"]
        theta = generative_outputs["theta"]
        qz_m = inference_outputs["qz_m"]
        qz_v = inference_outputs["qz_v"]

        nb_logits = px_rate.log() - theta.log()

        # Term 1
        log_lik = NegativeBinomial(total_count = theta, logits = nb_logits) \\
            .log_prob(x) \\
            .sum(dim=-1)

        # Term 2
        prior_dist = Normal(torch.zeros_like(qz_m), torch.ones_like(qz_v))
        var_post_dist = Normal(qz_m, torch.exp(0.5 * qz_v))
        kl_divergence = kl(var_post_dist, prior_dist).sum(axis=1)

        elbo = log_lik - kl_divergence
        return torch.mean(-elbo)
"""

# in an order that gives nothing away
SLIPS = (
    Slip(
        "two names for one thing",
        (('generative_outputs["px_mean"]', 'generative_outputs["px_rate"]'),),
        "Nothing runs further. Had both dictionaries had an old key of that name, the wrong "
        "number would have gone through in silence.",
    ),
    Slip(
        "no draw",
        (("z = Normal(qz_m, torch.exp(0.5 * qz_v)).rsample()", "z = qz_m"),),
        "The best report of all and the worst model: the KL is cheapest at the prior's width, "
        "and no draw ever shows the decoder what that costs.",
        drafted=False,
    ),
    Slip(
        "a missing comma",
        (("nn.Linear(n_input, 128),\n", "nn.Linear(n_input, 128)\n"),),
        "Nothing runs at all: the kindest error there is.",
    ),
    Slip(
        "a constant in the logarithms",
        (("px_rate.log() - theta.log()", "(px_rate + 1e-4).log() - (theta + 1e-4).log()"),),
        "On these genes the loss hardly moves, so no test on them will find it. Counts that are "
        "expected once in ten thousand cells are scored as twice that.",
    ),
    Slip(
        "an output that is lost",
        (("        else:\n            return output", "        else:\n            None"),),
        "The encoders return nothing, and the report comes from another place.",
    ),
    Slip(
        "a function for a type",
        (("z: torch.Tensor, library: torch.Tensor", "z: torch.tensor, library: torch.tensor"),),
        "No number changes, since Python does not look at annotations. Editors and readers do.",
    ),
    Slip(
        "a variance that may be negative",
        (("torch.exp(0.5 * qz_v)", "torch.sqrt(qz_v)"),),
        "Found only because PyTorch checks its arguments. With the checks off: NaN.",
    ),
    Slip(
        "mean for sum",
        ((".sum(dim=-1)\n", ".mean(dim=-1)\n"),),
        "The KL outweighs the counts, and the encoders say nothing: posterior collapse. (The "
        "report is put back on the scale of the sum here.)",
        drafted=False,
    ),
    Slip(
        "an else that belongs to one if",
        (
            ('elif link_var == "softmax"', 'if link_var == "softmax"'),
            ('elif link_var == "exp"', 'if link_var == "exp"'),
        ),
        'The else overwrites the layer with the word "softmax".',
        seen_at="else:",
    ),
    Slip(
        "log θ returned as θ",
        (('"theta": theta', '"theta": self.log_theta'),),
        "Found by luck: half of these numbers are negative at the start. Started at 2, they would "
        "have been taken for θ.",
    ),
    Slip(
        "a draw without a way back",
        (("torch.exp(0.5 * qz_v)).rsample()", "torch.exp(0.5 * qz_v)).sample()"),),
        "The counts no longer teach the encoders anything; only the KL does, and it asks them "
        "to say nothing.",
        drafted=False,
    ),
    Slip(
        "a base class from elsewhere",
        (("class MyModule(nn.Module)", "class MyModule(BaseModuleClass)"),),
        "Nothing runs: that class is scvi-tools'.",
    ),
    Slip(
        "a truth value for a question",
        (
            ("if self.transformation is not None:", "if self.transformation:"),
            ("link_var is None", "link_var == None"),
        ),
        "No number changes here. An empty nn.Sequential() as a link counts as false, and its "
        "output would be lost.",
    ),
    Slip(
        "a loss that is not returned",
        (("return torch.mean(-elbo)", "loss = torch.mean(-elbo)"),),
        "All is computed, nothing is handed back.",
    ),
    Slip(
        "mixed meanings",
        (("var_post_dist = Normal(qz_m, torch.exp(0.5 * qz_v))",
          "var_post_dist = Normal(qz_m, torch.sqrt(qz_v.abs()))"),),
        "A good report, good clusters, a true bound a few nats worse. The widths of q are some 60 "
        "per cent of what they should be, and nothing tells you.",
        drafted=False,
    ),
    Slip(
        "names that nobody imported",
        ((IMPORTS, "\n"),),
        "The first of three: kl and NegativeBinomial would be reported later, one a run.",
        seen_at="z = Normal(",
    ),
    Slip(
        "a string for None",
        (("n_latent, None)", 'n_latent, "none")'),),
        "Written in one place, reported in another, where the string is called.",
    ),
)  # fmt: skip


def with_slips(*slips: Slip) -> str:
    """Return the mended text with some errors put back.

    Raises:
        ValueError: the text does not hold what an error replaces.

    """
    text = MENDED
    for slip in slips:
        for meant, written in slip.edits:
            if meant not in text:
                raise ValueError(f"{slip.name}: the text does not hold {meant!r}.")
            text = text.replace(meant, written)
    return text
