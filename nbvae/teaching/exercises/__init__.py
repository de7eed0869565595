"""The checks of the book's exercises, a module per chapter, found by the number of the exercise."""

from importlib import import_module
from pkgutil import iter_modules

from nbvae.teaching.exercises._check import CHECKS, check
from nbvae.teaching.exercises._formula import FORMULAS, parts, questions

for _module in iter_modules(__path__):  # each registers its checks
    import_module(f"{__name__}.{_module.name}")

__all__ = ["CHECKS", "FORMULAS", "check", "parts", "questions"]
