"""The map on the front page is the one that its tool makes from the trained model."""

import base64
import html
import json
import re

import front_page
import numpy as np
import pytest

pytestmark = pytest.mark.slow


def attributes(text):
    """The values in a figure's HTML, and those of the trained model."""
    found = re.findall(r"data-(?:values|trained)='([^']*)'", text)
    return [json.loads(html.unescape(value)) for value in found]


def halves(text):
    return np.frombuffer(base64.b64decode(text), "<f2").astype(float)


def shares(trained):
    """(3.2) at every cell's state, (N, G)."""
    weights = trained["decoder"]
    b1, b2 = halves(weights["firstBias"]), halves(weights["secondBias"])
    w1 = halves(weights["first"]).reshape(len(b1), -1)
    w2 = halves(weights["second"]).reshape(len(b2), -1)
    z = halves(trained["z"]).reshape(-1, w1.shape[1])
    y = np.maximum(z @ w1.T + b1, 0) @ w2.T + b2
    y = np.exp(y - y.max(1, keepdims=True))
    return y / y.sum(1, keepdims=True)


def test_the_stored_map_is_what_the_tool_makes():
    """Exactly, where no training takes part; its last digits differ from processor to processor."""
    stored_text = front_page.TARGET.read_text(encoding="utf-8")
    assert f'data-still="{front_page.PICTURE}"' in stored_text
    values, trained = attributes(stored_text)
    new_values, new_trained = attributes(front_page.figure().light_html())
    assert values == new_values
    apart = 0.5 * np.abs(shares(trained) - shares(new_trained)).sum(1)
    assert apart.mean() < 0.05  # total variation of the shares that the page would show
