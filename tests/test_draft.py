"""The errors of the draft: each is reproduced from the draft's own text, and nbvae is free of it.

no.  error                        what the draft does                 what nbvae does
───  ───────────────────────────  ──────────────────────────────────  ─────────────────────────────
  1  missing comma                SyntaxError                         can be imported
  2  if / if / if / else          TypeError for "softmax"             each link by its name
  3  "none" for None              'str' object is not callable        ValueError at construction
  4  forward returns None         the output is lost                  the output comes back
  5  BaseModuleClass              NameError                           nn.Module
  6  missing imports              NameError, three times              each step runs
  7  variance may be negative     ValueError: about half are          a log-variance: any number
  8  px_rate for px_mean          KeyError                            named fields
  9  log_theta for theta          ValueError, or silently another θ   theta is exp(log_theta)
 10  loss returns nothing         None has no backward                the loss and its terms
 11  + 1e-4 in the logarithms     silent: rare genes are biased       the true mean scores best
 12  an empty cell                silent: a score for no data         refused by name; costs nothing
 13  notation and types           silent: a function as a type        every annotation is a type
 14  truth value of a link        silent: empty Sequential is lost    `is None`
 15  NaN without checks           silent: validation off, loss NaN    TrainingDivergedError
 16  no forward                   NotImplementedError                 module(x)
 17  softmax, then logarithm      silent: the gradient is lost        log_softmax
 18  log-gammas subtracted        silent: digits lost at large θ      Stirling's formula

The numbers are those of the chapter on the draft; from 14 on they are what else was found. To
meet a later error, the draft first gets the smallest repairs of the earlier ones, each an exact
replacement in its text. The name of a test is the sentence that it checks.
"""

import ast
import importlib
import inspect
import math
import pkgutil
import re
import typing
from pathlib import Path
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from torch import nn
from torch.distributions import Distribution, NegativeBinomial, Normal, kl_divergence

import nbvae
from nbvae import MLP, NBVAE, Trainer, TrainingDivergedError
from nbvae.data.counts import CountsError, count_matrix
from nbvae.module.distributions import nb_log_prob

BOOK = Path(__file__).parents[1] / "book"
DRAFT = (BOOK / "assets" / "draft.md").read_text(encoding="utf-8")

# the smallest repair of each error, as (what is written, what should be); each occurs in the text
REPAIRS = {
    1: [("nn.Linear(n_input, 128)\n", "nn.Linear(n_input, 128),\n")],
    2: [
        ('if link_var == "softmax"', 'elif link_var == "softmax"'),
        ('if link_var == "exp"', 'elif link_var == "exp"'),
    ],
    3: [('MyNeuralNetwork(n_input, n_latent, "none")', "MyNeuralNetwork(n_input, n_latent, None)")],
    4: [("        else:\n            None", "        else:\n            return output")],
    5: [("class MyModule(BaseModuleClass)", "class MyModule(nn.Module)")],
    6: [],  # three imports: names in the namespace, see `draft`
    7: [("torch.sqrt(qz_v)", "torch.exp(0.5 * qz_v)")],
    8: [('generative_outputs["px_rate"]', 'generative_outputs["px_mean"]')],
    9: [('"theta": self.log_theta', '"theta": theta')],
    10: [("        loss = torch.mean(-elbo)", "        return torch.mean(-elbo)")],
    11: [("(px_rate + 1e-4).log() - (theta + 1e-4).log()", "px_rate.log() - theta.log()")],
}
IMPORTS = {"Normal": Normal, "NegativeBinomial": NegativeBinomial, "kl": kl_divergence}


def code(repaired):
    """The draft's two blocks of code, with some errors repaired."""
    text = DRAFT
    for number in repaired:
        for written, meant in REPAIRS[number]:
            assert written in text, f"the draft does not contain {written!r}"
            text = text.replace(written, meant)
    network, model = re.findall(r"```\{python\}\n(.*?)```", text, flags=re.DOTALL)
    return network, model


def draft(*, repaired_before, but=None, without=()):
    """The draft's two classes, with the errors before one number repaired, but for one of them."""
    repaired = [number for number in REPAIRS if number < repaired_before and number != but]
    names = {"torch": torch, "nn": nn}
    if 6 in repaired:
        names |= {name: value for name, value in IMPORTS.items() if name not in without}
    for block in code(repaired):
        exec(compile(block, "draft.md", "exec"), names)
    return SimpleNamespace(**names)


def draft_network(repaired_before, *arguments):
    """The draft's first class alone; its second does not run before number 6."""
    names = {"torch": torch, "nn": nn}
    exec(code(range(1, repaired_before))[0], names)
    return names["MyNeuralNetwork"](*arguments)


def draft_loss(module, x):
    """The draft's four methods in the order that its author had in mind."""
    inferred = module.inference(x)
    generated = module.generative(**module._get_generative_input(x, inferred))
    return module.loss({"x": x}, inferred, generated)


@pytest.fixture
def x(small):
    return torch.from_numpy(small.X.toarray())


# ---------------------------------------------------------------- the list itself


def test_each_error_is_reproduced_and_regression_tested():
    """Else the list above would promise more than the tests below keep."""
    listed = [int(number) for number in re.findall(r"^ *(\d+)  ", __doc__, flags=re.MULTILINE)]
    assert listed == list(range(1, 19))
    for side in ("draft", "nbvae"):
        tested = [int(m[1]) for m in map(re.compile(rf"test_(\d+)_{side}_").match, globals()) if m]
        assert sorted(set(tested)) == listed


# ---------------------------------------------------------------- 1


def test_01_draft_has_no_comma_between_two_layers():
    with pytest.raises(SyntaxError, match="comma"):
        draft(repaired_before=1)


def test_01_nbvae_can_be_imported():
    for found in pkgutil.walk_packages(nbvae.__path__, "nbvae."):
        importlib.import_module(found.name)


# ---------------------------------------------------------------- 2


def test_02_draft_overwrites_softmax_with_its_name():
    with pytest.raises(TypeError, match="cannot assign 'str'"):
        draft_network(2, 5, 3, "softmax")


def test_02_nbvae_finds_each_link_by_its_name():
    y = torch.randn(4, 3)
    for name, expected in (("softmax", y.softmax(dim=1)), ("exp", y.exp())):
        torch.testing.assert_close(MLP(5, 3, link=name).link(y), expected)


# ---------------------------------------------------------------- 3


def test_03_draft_calls_a_string():
    network = draft_network(3, 5, 3, "none")
    with pytest.raises(TypeError, match="'str' object is not callable"):
        network(torch.zeros(2, 5))


def test_03_nbvae_refuses_the_string_where_it_is_written():
    with pytest.raises(ValueError, match="Unknown link 'none'"):
        MLP(5, 3, link="none")


# ---------------------------------------------------------------- 4


def test_04_draft_loses_the_output():
    assert draft_network(4, 5, 3, None)(torch.zeros(2, 5)) is None


def test_04_nbvae_returns_the_output():
    assert MLP(5, 3, link=None)(torch.zeros(2, 5)).shape == (2, 3)


# ---------------------------------------------------------------- 5


def test_05_draft_builds_on_a_class_from_elsewhere():
    with pytest.raises(NameError, match="BaseModuleClass"):
        draft(repaired_before=5)


def test_05_nbvae_builds_on_vanilla_pytorch():
    assert NBVAE.__bases__ == MLP.__bases__ == (nn.Module,)


# ---------------------------------------------------------------- 6


def test_06_draft_uses_a_name_that_is_not_imported(x):
    module = draft(repaired_before=6).MyModule(12)
    with pytest.raises(NameError, match="'Normal'"):
        module.inference(x)


@pytest.mark.parametrize("name", ["NegativeBinomial", "kl"])
def test_06_draft_uses_two_more(x, name):
    module = draft(repaired_before=11, without=[name]).MyModule(12)
    with pytest.raises(NameError, match=f"'{name}'"):
        draft_loss(module, x)


def test_06_nbvae_runs_each_step(x):
    module = NBVAE(12)
    q = module.inference(x)
    px = module.generative(q.z, x.sum(dim=1, keepdim=True))
    assert torch.isfinite(module.loss(x, q, px).loss)


# ---------------------------------------------------------------- 7


def negative_share(seed, blood):
    torch.manual_seed(seed)
    with torch.no_grad():
        return (draft_network(5, 765, 10)(blood.log1p()) < 0).double().mean().item()


def test_07_draft_takes_the_root_of_negative_numbers(blood):
    module = draft(repaired_before=7).MyModule(765)
    with pytest.raises(ValueError, match="scale"):
        module.inference(blood)
    assert module.var_encoder(blood.log1p()).min() < 0


def test_07_draft_has_38_percent_of_negative_variances_with_seed_0(blood):
    """The number that is quoted; it is one of a wide range, see the next test."""
    assert negative_share(0, blood) == pytest.approx(0.38, abs=0.02)


def test_07_draft_has_half_of_its_variances_negative_on_average(blood):
    """By symmetry: the last layer's weights are as often negative as positive."""
    shares = [negative_share(seed, blood) for seed in range(40)]
    assert np.mean(shares) == pytest.approx(0.5, abs=5 * np.std(shares) / math.sqrt(40))
    assert min(shares) > 0.1 and max(shares) < 0.9


def test_07_nbvae_reads_the_output_as_a_log_variance(blood):
    module = NBVAE(765)
    q = module.inference(blood, noise=torch.ones(700, 10))
    assert q.qz_logvar.min() < 0  # which is no harm
    sd = q.z - q.qz_mean
    assert (sd > 0).all()
    torch.testing.assert_close(sd.square().log(), q.qz_logvar, rtol=1e-3, atol=1e-3)


# ---------------------------------------------------------------- 8


def test_08_draft_reads_a_key_that_was_never_written(x):
    with pytest.raises(KeyError, match="px_rate"):
        draft_loss(draft(repaired_before=8).MyModule(12), x)


def test_08_nbvae_names_its_outputs():
    px = NBVAE(12).generative(torch.zeros(1, 10), torch.ones(1, 1))
    assert px._fields == ("log_px_scale", "log_px_mean", "log_theta", "dropout_logits")
    assert not hasattr(px, "px_rate")


# ---------------------------------------------------------------- 9


def test_09_draft_hands_out_the_logarithm_as_theta(x):
    module = draft(repaired_before=9).MyModule(12)
    assert (module.log_theta < 0).any()
    with pytest.raises(ValueError, match="total_count"):
        draft_loss(module, x)


def test_09_draft_is_silent_where_the_logarithm_is_positive(x):
    module = draft(repaired_before=9).MyModule(12)
    nn.init.constant_(module.log_theta, 1.5)
    px = module.generative(torch.zeros(1, 10), torch.ones(1, 1))
    torch.testing.assert_close(px["theta"], torch.full((12,), 1.5))  # and not e^1.5 = 4.5


def test_09_nbvae_hands_out_theta():
    module = NBVAE(12)
    nn.init.constant_(module.log_theta, 1.5)
    px = module.generative(torch.zeros(1, 10), torch.ones(1, 1))
    torch.testing.assert_close(px.theta, torch.full((12,), math.exp(1.5)))


# ---------------------------------------------------------------- 10


def test_10_draft_computes_the_loss_and_keeps_it(x):
    assert draft_loss(draft(repaired_before=10).MyModule(12), x) is None


def test_10_nbvae_returns_the_loss(x):
    output = NBVAE(12)(x)
    output.loss.backward()
    assert output.loss.shape == ()
    assert output.reconstruction.shape == output.kl.shape == (53,)


# ---------------------------------------------------------------- 11

TRUE_MEAN, THETA = 1e-4, 2.0
FACTORS = torch.tensor([0.01, 0.1, 0.5, 0.9, 1.0, 1.1, 2.0], dtype=torch.float64)


def expected_log_prob(log_prob):
    """E log p(x; μ) for a gene with mean 1e-4, for several μ around it."""
    count = np.arange(50.0)
    p = scipy.stats.nbinom.pmf(count, THETA, THETA / (THETA + TRUE_MEAN))
    return [
        sum(float(p[i]) * log_prob(torch.tensor(x).double(), mean) for i, x in enumerate(count))
        for mean in FACTORS * TRUE_MEAN
    ]


def test_11_draft_scores_a_rare_gene_best_where_its_mean_is_wrong():
    module = draft(repaired_before=11).MyModule(1)
    prior = torch.zeros(1, 1).double(), torch.zeros(1, 1).double()  # q is the prior: KL = 0

    def log_prob(x, mean):
        generated = {"px_mean": mean.view(1, 1), "theta": torch.tensor([THETA]).double()}
        inferred = dict(zip(("qz_m", "qz_v"), prior, strict=True))
        return -module.loss({"x": x.view(1, 1)}, inferred, generated).item()

    best = FACTORS[int(np.argmax(expected_log_prob(log_prob)))].item()
    assert best == 0.01  # the least that is offered: the true mean is already in the constant


def test_11_nbvae_scores_a_rare_gene_best_at_its_true_mean():
    def log_prob(x, mean):
        return nb_log_prob(x, mean.log(), torch.tensor(THETA).double().log()).item()

    assert FACTORS[int(np.argmax(expected_log_prob(log_prob)))].item() == 1.0


# ---------------------------------------------------------------- 12


def with_an_empty_cell(small):
    small.X = small.X.toarray()
    small.X[3] = 0
    return small


def test_12_draft_scores_an_empty_cell_as_if_it_were_data(x):
    module = draft(repaired_before=11).MyModule(12)
    x[3] = 0
    inferred = module.inference(x)
    generated = module.generative(**module._get_generative_input(x, inferred))
    assert (generated["px_mean"][3] == 0).all()
    assert torch.isfinite(module.loss({"x": x}, inferred, generated))


def test_12_draft_without_the_constant_meets_the_logarithm_of_zero(x):
    module = draft(repaired_before=12).MyModule(12)
    x[3] = 0
    assert torch.isnan(draft_loss(module, x))


def test_12_nbvae_refuses_an_empty_cell_by_name(small):
    with pytest.raises(CountsError, match="'cell-3'"):
        count_matrix(with_an_empty_cell(small))
    with pytest.raises(CountsError, match="'cell-3'"):
        Trainer(device="cpu").fit(NBVAE(12), small)


def test_12_nbvae_gives_an_empty_cell_no_weight(x):
    x[3] = 0
    output = NBVAE(12)(x)
    assert output.reconstruction[3] == 0
    assert torch.isfinite(output.loss)


# ---------------------------------------------------------------- 13


def test_13_draft_annotates_with_a_function_compares_with_none_and_misses_tildes():
    hints = inspect.get_annotations(draft(repaired_before=11).MyModule.generative)
    assert hints == {"z": torch.tensor, "library": torch.tensor}
    assert not isinstance(torch.tensor, type)
    assert "link_var == None" in DRAFT
    for wrong in ("z_n ~ Normal", "x_ng ~ NB"):  # ~ is a space in TeX, and the g is not an index
        assert wrong in DRAFT


def public_functions():
    for found in pkgutil.walk_packages(nbvae.__path__, "nbvae."):
        module = importlib.import_module(found.name)
        for _, value in inspect.getmembers(module):
            if getattr(value, "__module__", None) != found.name:
                continue
            if inspect.isfunction(value):
                yield value
            elif inspect.isclass(value):
                yield from (f for _, f in inspect.getmembers(value, inspect.isfunction))


def is_a_type(hint):
    plain = hint is None or isinstance(hint, type | str | typing.TypeVar)
    return plain or typing.get_origin(hint) is not None or hint in (typing.Any, type(None))


def test_13_nbvae_annotates_with_types():
    functions = [f for f in public_functions() if f.__module__.startswith("nbvae")]
    assert len(functions) > 50
    for function in functions:
        for name, hint in inspect.get_annotations(function).items():
            assert is_a_type(hint), (function.__qualname__, name)
    assert not is_a_type(torch.tensor)


def test_13_nbvae_compares_with_is_none():
    for path in Path(nbvae.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):  # not in quoted text
            if isinstance(node, ast.Compare):
                equal = any(isinstance(op, ast.Eq | ast.NotEq) for op in node.ops)
                sides = [node.left, *node.comparators]
                none = any(isinstance(s, ast.Constant) and s.value is None for s in sides)
                assert not (equal and none), f"{path}, line {node.lineno}"


# ---------------------------------------------------------------- 14


def test_14_draft_takes_an_empty_sequential_for_no_link():
    network = draft_network(4, 5, 3, nn.Sequential())  # the usual "do nothing" of PyTorch
    assert not network.transformation
    assert network(torch.zeros(2, 5)) is None


def test_14_nbvae_asks_whether_it_is_none():
    network = MLP(5, 3, link=nn.Sequential())
    assert network(torch.zeros(2, 5)).shape == (2, 3)


# ---------------------------------------------------------------- 15


@pytest.fixture
def no_checks():
    """What `python -O` does to torch.distributions."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    yield
    Distribution.set_default_validate_args(before)


@pytest.mark.parametrize("number", [7, 9])
def test_15_draft_returns_nan_without_a_word_when_checks_are_off(blood, no_checks, number):
    """Numbers 7 and 9 are reported by luck: by checks that can be switched off."""
    module = draft(repaired_before=12, but=number).MyModule(765)
    assert torch.isnan(draft_loss(module, blood))


def test_15_nbvae_does_not_rely_on_checks_that_can_be_switched_off(x, no_checks):
    assert torch.isfinite(NBVAE(12)(x).loss)
    for path in Path(nbvae.__file__).parent.glob("*.py"):  # `python -O` removes every assert
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert not any(isinstance(node, ast.Assert) for node in ast.walk(tree)), path


def test_15_nbvae_stops_at_the_first_nan(small, no_checks):
    module = NBVAE(12)
    nn.init.constant_(module.logvar_encoder.layers[2].bias, math.nan)
    with pytest.raises(TrainingDivergedError, match="epoch 1, minibatch 1"):
        Trainer(device="cpu").fit(module, small)


# ---------------------------------------------------------------- 16


def test_16_draft_never_calls_its_steps_together(x):
    with pytest.raises(NotImplementedError):
        draft(repaired_before=12).MyModule(12)(x)


def test_16_nbvae_runs_all_steps_when_called(x):
    assert torch.isfinite(NBVAE(12)(x).loss)


# ---------------------------------------------------------------- 17


def test_17_draft_loses_a_share_that_underflows():
    """exp(−200) is 0 in float32, and no gradient comes back through it."""
    module = draft(repaired_before=12).MyModule(2, 1)
    nn.init.zeros_(module.decoder.model[2].weight)
    bias = module.decoder.model[2].bias
    bias.data = torch.tensor([0.0, -200.0])
    px = module.generative(torch.zeros(1, 1), torch.full((1, 1), 10.0))
    px["px_mean"][0, 1].backward()
    assert px["px_mean"][0, 1] == 0
    assert bias.grad[1] == 0


def test_17_nbvae_stays_in_log_space():
    module = NBVAE(2, 1)
    nn.init.zeros_(module.decoder.layers[2].weight)
    bias = module.decoder.layers[2].bias
    bias.data = torch.tensor([0.0, -200.0])
    px = module.generative(torch.zeros(1, 1), torch.full((1, 1), 10.0))
    log_prob = nb_log_prob(torch.tensor([[0.0, 3.0]]), px.log_px_mean, torch.zeros(2)).sum()
    log_prob.backward()
    assert torch.isfinite(log_prob)
    assert bias.grad[1].item() == pytest.approx(3, rel=1e-4)


# ---------------------------------------------------------------- 18


def digits_lost(log_prob):
    """The relative error in float32 for x = 30, μ = 25, θ = 1e6."""
    x, mean, theta = 30, 25, mpmath.mpf(10**6)
    with mpmath.workdps(50):
        exactly = (
            mpmath.loggamma(x + theta)
            - mpmath.loggamma(theta)
            - mpmath.loggamma(x + 1)
            - theta * mpmath.log1p(mean / theta)
            + x * mpmath.log(mean / (mean + theta))
        )
    return abs(log_prob(torch.tensor([[30.0]])).item() / float(exactly) - 1)


def test_18_draft_loses_its_digits_at_large_theta():
    module = draft(repaired_before=12).MyModule(1)
    inferred = {"qz_m": torch.zeros(1, 1), "qz_v": torch.zeros(1, 1)}
    generated = {"px_mean": torch.tensor([[25.0]]), "theta": torch.tensor([1e6])}
    error = digits_lost(lambda x: -module.loss({"x": x}, inferred, generated))
    assert error > 0.01  # of a log-probability that is about −3


def test_18_nbvae_keeps_its_digits_at_large_theta():
    log_mean, log_theta = torch.tensor([[25.0]]).log(), torch.tensor([1e6]).log()
    assert digits_lost(lambda x: nb_log_prob(x, log_mean, log_theta)) < 1e-5


# ---------------------------------------------------------------- all repairs together


def test_the_repaired_draft_is_nbvae(x):
    """All repairs together give the same model: same weights, same noise, same loss."""
    repaired, ours = draft(repaired_before=12).MyModule(12).double(), NBVAE(12).double()
    names = {"model": "layers", "var_encoder": "logvar_encoder"}
    for old, parameter in repaired.named_parameters():
        new = old
        for written, meant in names.items():
            new = new.replace(written, meant)
        parameter.data = ours.get_parameter(new).data
    x = x.double()
    torch.manual_seed(5)
    theirs = draft_loss(repaired, x)
    torch.manual_seed(5)
    noise = torch.randn(53, 10, dtype=torch.float64)
    torch.testing.assert_close(theirs, ours(x, noise=noise).loss, rtol=1e-9, atol=0)
