"""A figure that lives in the page: what a chapter's call returns, and how notebooks show it."""

import base64
import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML, display
from matplotlib.figure import Figure

FOLDER = Path(__file__).parent
SHARED = ("core.js", "maths.js", "states.js")  # every figure needs them, in this order
NOTE = "Run this cell, or open the page of the book, and this figure moves."
BEGIN, END, LAST = "<!--living-->", "<!--/living-->", "<!--end-->"


class LivingFigure:
    """A figure that a reader can move, and the picture that stands in for it.

    Where scripts run, the picture gives way to the figure; in print, and where they do not run,
    the picture stays. The HTML consists of the values, a few kilobytes, and of the script, which
    a stored notebook goes without: ``tools/outputs.py`` takes it off, the pages of the book
    share one copy, and a notebook that is run has it again.

    Args:
        name: of the script, ``name.js`` beside this file.
        label: what it is, for a reader who does not see it.
        values: what the script computes with; JSON.
        trained: the same, of a trained model. The last digits depend on the processor, so that
            ``pytest --nbval`` does not compare them.
        still: the picture with the same message. It is closed.

    """

    def __init__(
        self,
        name: str,
        label: str,
        values: Mapping[str, Any],
        *,
        trained: Mapping[str, Any] | None = None,
        still: Figure | None = None,
    ) -> None:
        self.name, self.label, self.still = name, label, still
        self.values, self.trained = values, trained or {}
        if still is not None:
            plt.close(still)

    def light_html(self) -> str:
        """Return the form that a stored notebook holds: the values alone."""
        return (
            f'<div class="nbvae-living" role="group" aria-label="{escape(self.label)}"'
            f" data-figure=\"{self.name}\" data-values='{_attribute(self.values)}'"
            f" data-trained='{_attribute(self.trained)}'>"
            f'<p class="lv-note">{NOTE}</p></div>'
        )

    def script_html(self) -> str:
        """Return style and script, for a page that does not have them."""
        return f"<style>{style()}</style><script>{script(self.name)}</script>"

    def _repr_html_(self) -> str:
        return f"{self.light_html()}{BEGIN}{self.script_html()}{END}{LAST}"

    def __repr__(self) -> str:
        """Text for where there is no HTML."""
        return f"<{self.label}>"

    def _ipython_display_(self) -> None:
        """Show the picture, then the figure: a viewer that shows no HTML has the first."""
        if self.still is not None:
            display(self.still)
        display(HTML(self._repr_html_()))


def script(*names: str) -> str:
    """Return the shared script with that of these figures, or of all."""
    figures = [f"{name}.js" for name in names] or sorted(
        path.name for path in FOLDER.glob("*.js") if path.name not in SHARED
    )
    return "".join((FOLDER / file).read_text(encoding="utf-8") for file in (*SHARED, *figures))


def style() -> str:
    """Return the style of all figures."""
    return (FOLDER / "living.css").read_text(encoding="utf-8")


def packed(array: np.ndarray, kind: str = "<f4") -> str:
    """Return an array's bytes as text, little-endian; ``kind`` is NumPy's name of the type."""
    return base64.b64encode(np.ascontiguousarray(array, dtype=kind).tobytes()).decode()


def _attribute(values: Mapping[str, Any]) -> str:
    """Return JSON that can stand between single quotes in HTML."""
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&#39;")
