"""Answers to every exercise, a module a chapter: RIGHT, two ways each; WRONG, with the diagnosis.

RIGHT maps the name of a check, without "check_", to two right answers that are written differently.
WRONG lists (name, answer, a word of the diagnosis); each check needs two with different diagnoses.
"""

from importlib import import_module
from pkgutil import iter_modules

_CHAPTERS = [import_module(f"answers.{module.name}") for module in iter_modules(__path__)]
RIGHT = {name: answers for chapter in _CHAPTERS for name, answers in chapter.RIGHT.items()}
WRONG = [answer for chapter in _CHAPTERS for answer in chapter.WRONG]
