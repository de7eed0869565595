"""Numbers that are no counts, and parameters that are none."""

import math

import pytest
import torch
from outcomes import Case, Error, cases, check, same

from nbvae import nb_log_prob, nb_sample, poisson_log_prob, zinb_log_prob

X = torch.tensor([[0.0, 1.0, 2.0], [3.0, 40.0, 0.0]])
LOGS = torch.tensor([0.1, -2.0, 3.0])
FUNCTIONS = {
    "nb": (nb_log_prob, ("x", "log_mean", "log_theta")),
    "poisson": (poisson_log_prob, ("x", "log_mean")),
    "zinb": (zinb_log_prob, ("x", "log_mean", "log_theta", "dropout_logits")),
    "sample": (nb_sample, ("log_mean", "log_theta")),
}
NOT_COUNTS = {
    "negative": -1.0,
    "minus a tiny number": -1e-30,
    "half": 0.5,
    "nearly whole": 2.0000002384185791,
    "NaN": math.nan,
    "infinite": math.inf,
}
NOT_LOGS = {"NaN": math.nan, "infinite": math.inf, "minus infinite": -math.inf}
FINE = {("log_mean", "minus infinite"), *(("dropout_logits", name) for name in NOT_LOGS)} - {
    ("dropout_logits", "NaN")
}


def call(name, **changed):
    function, arguments = FUNCTIONS[name]
    torch.manual_seed(0)
    values = {key: X if key == "x" else LOGS for key in arguments} | changed
    return function(*(values[key] for key in arguments))


def put(values, place, number):
    values = values.clone()
    values[place] = number
    return values


TABLE = [
    *(
        Case(
            f"{name}, x is {what}",
            lambda w, n=name, v=value: call(n, x=put(X, (1, 1), v)),
            Error(ValueError, "x[1, 1]"),
        )
        for name in FUNCTIONS
        if name != "sample"
        for what, value in NOT_COUNTS.items()
    ),
    *(
        Case(
            f"{name}, {argument} is {what}",
            lambda w, n=name, a=argument, v=value: call(n, **{a: put(LOGS, 1, v)}),
            Error(ValueError, f"{argument}[1]"),
        )
        for name, (_, arguments) in FUNCTIONS.items()
        for argument in arguments
        if argument != "x"
        for what, value in NOT_LOGS.items()
        if (argument, what) not in FINE
    ),
    *(
        Case(
            f"{name}, {argument} is {what}",
            lambda w, n=name, a=argument, v=value: call(n, **{a: v}),
            Error(TypeError, argument),
        )
        for name, (_, arguments) in FUNCTIONS.items()
        for argument in arguments
        for what, value in {"a number": 2.0, "an array": X.numpy(), "nothing": None}.items()
    ),
    *(
        Case(
            f"{name}, x in {dtype}",
            lambda w, n=name, d=dtype: call(n, x=X.to(d)),
            lambda w, n=name: call(n),
        )
        for name in FUNCTIONS
        if name != "sample"
        for dtype in (torch.uint8, torch.int32, torch.int64)
    ),
    *(
        Case(
            f"{name}, no cells",
            lambda w, n=name: call(n, x=X[:0]),
            lambda w: torch.empty(0, 3),
        )
        for name in FUNCTIONS
        if name != "sample"
    ),
    Case(
        "negative integer",
        lambda w: call("nb", x=torch.tensor([[1, -2, 0]])),
        Error(ValueError, "x[0, 1] is -2"),
    ),
    Case(
        "a single count",
        lambda w: call("nb", x=torch.tensor(-2.0)),
        Error(ValueError, "x is -2"),
    ),
    Case(
        "no mean, no count",
        lambda w: call("nb", x=torch.zeros(3), log_mean=torch.full((3,), -math.inf)),
        lambda w: torch.zeros(3),
    ),
    Case(
        "no mean, a count",
        lambda w: call("poisson", x=torch.ones(3), log_mean=torch.full((3,), -math.inf)),
        lambda w: torch.full((3,), -math.inf),
    ),
]


@cases(TABLE)
def test_numbers(case):
    check(case, None)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_check_can_be_left_out(name):
    """For whoever has looked already: the same numbers, and no complaint."""
    function, arguments = FUNCTIONS[name]
    values = [X if key == "x" else LOGS for key in arguments]
    torch.manual_seed(0)
    same(function(*values, validate_args=False), call(name))
    if name != "sample":
        function(X - 0.5, *values[1:], validate_args=False)


def test_parameters_in_training_are_left_to_the_loss():
    """The trainer stops at a loss that is not finite, with the last good weights."""
    log_theta = torch.full((3,), math.nan, requires_grad=True)
    assert nb_log_prob(X, LOGS, log_theta).isnan().any()
