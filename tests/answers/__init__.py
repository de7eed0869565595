"""Answers to every exercise, a module per chapter: RIGHT, several each; WRONG, and why.

RIGHT maps the number of an exercise to right answers that are written differently.
WRONG lists (number, answer, words of the diagnosis), the likeliest mistake first.
"""

from importlib import import_module
from pkgutil import iter_modules

_CHAPTERS = [import_module(f"answers.{module.name}") for module in iter_modules(__path__)]
RIGHT = {number: answers for chapter in _CHAPTERS for number, answers in chapter.RIGHT.items()}
WRONG = [answer for chapter in _CHAPTERS for answer in chapter.WRONG]
