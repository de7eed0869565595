"""Counting logarithms and log-gammas, whichever library computes them."""

import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import scipy.special
import torch
from scipy.special import _ufuncs

from nbvae.teaching.work import GAMMAS, LOGS, Work

_SOURCES: dict[str, list[tuple[ModuleType, tuple[str, ...]]]] = {
    LOGS: [(math, ("log", "log1p", "log2", "log10")), (np, ("log", "log1p", "log2", "log10"))],
    GAMMAS: [
        (math, ("lgamma", "gamma", "factorial")),
        (scipy.special, ("gammaln", "loggamma", "betaln", "beta", "gamma", "poch", "binom", "psi")),
        (_ufuncs, ("_nbinom_pmf", "_nbinom_cdf")),
    ],
}


class _Counted:
    """Stands in for a function and counts the numbers that it computes."""

    def __init__(self, function: Any, kind: str, numbers: Counter[str]) -> None:
        self.function, self.kind, self.numbers = function, kind, numbers

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        result = self.function(*arguments, **options)
        self.numbers[self.kind] += np.size(result)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)


@contextmanager
def counted(answer: Callable) -> Iterator[Counter[str]]:
    """Count logarithms and log-gammas while an answer runs, by kind.

    Those of PyTorch are counted as ``Work`` does; those of Python, NumPy and SciPy by putting
    something that counts in their place: in their modules, in SciPy's distributions and in the
    notebook of the answer, where they may have been imported by name.
    """
    with Work():  # PyTorch imports what this needs, which computes logarithms, too
        bool(torch.ones(2).sum() > 0)
    numbers: Counter[str] = Counter()
    before: list[tuple[dict[str, Any], str, Any]] = []
    for kind, modules in _SOURCES.items():
        places = _places(answer) if kind == GAMMAS else [_globals_of(answer)]
        for module, names in modules:
            for name in names:
                if (function := getattr(module, name, None)) is None:
                    continue
                for namespace in [vars(module), *places]:
                    before += [(namespace, key, function) for key, value in namespace.items()
                               if value is function]  # fmt: skip
    stand_ins = {id(f): _Counted(f, kind, numbers) for f, kind in _known()}
    try:
        for namespace, key, function in before:
            namespace[key] = stand_ins[id(function)]
        with Work() as work:
            yield numbers
        numbers.update({kind: work.numbers[kind] for kind in (LOGS, GAMMAS)})
    finally:
        for namespace, key, function in before:
            namespace[key] = function


def _known() -> Iterator[tuple[Any, str]]:
    for kind, modules in _SOURCES.items():
        for module, names in modules:
            yield from ((getattr(module, n), kind) for n in names if hasattr(module, n))


def _places(answer: Callable) -> list[dict[str, Any]]:
    """SciPy's distributions import their log-gammas by name; the answer may have, too."""
    scipys = [vars(m) for name, m in sys.modules.items() if name.startswith("scipy.stats") and m]
    return [*scipys, _globals_of(answer)]


def _globals_of(answer: Callable) -> dict[str, Any]:
    return answer.__globals__ if isinstance(answer, FunctionType) else {}
