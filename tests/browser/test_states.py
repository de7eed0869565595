"""The decoder in the page is the package's, and the figures that use it show its numbers."""

import base64
import json

import numpy as np
import pytest
import samples
import torch
from hands import drag_by_finger, drag_by_mouse

pytestmark = pytest.mark.slow
MATHS = "window.nbvaeLiving.maths"


def halved(model):
    """The model as the page has it: weights rounded to half floats."""
    with torch.no_grad():
        for weight in (*model.decoder.parameters(), model.log_theta):
            weight.copy_(weight.half().float())
    return model


def shares_in_page(page, z):
    return np.array(page.page.evaluate(
        f"""z => {{ const box = document.querySelector('.nbvae-living');
        const data = JSON.parse(box.dataset.trained);
        return z.map(v => Array.from({MATHS}.decoder(data.decoder)(v))) }}""", z.tolist(),
    ))  # fmt: skip


def test_the_decoder_is_pytorchs(figure):
    model = halved(samples.untrained()).double()
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 10)))
    with torch.no_grad():
        expected = model.generative(z, torch.ones(20, 1, dtype=torch.float64)).px_scale.numpy()
    assert shares_in_page(figure("state_by_hand"), z.numpy()) == pytest.approx(expected, rel=1e-5)


def test_half_floats_change_shares_little(figure):
    """What the page loses: under one per cent of a share, far less than one count scatters."""
    model = samples.untrained().double()
    z = torch.from_numpy(np.random.default_rng(0).normal(size=(20, 10)))
    with torch.no_grad():
        expected = model.generative(z, torch.ones(20, 1, dtype=torch.float64)).px_scale.numpy()
    assert shares_in_page(figure("state_by_hand"), z.numpy()) == pytest.approx(expected, rel=0.01)


def test_half_floats_are_numpys(figure):
    values = np.array([0, -0.0, 1, -2.5, 6e-8, 3e-5, 65504, 0.333], "<f2")
    text = base64.b64encode(values.tobytes()).decode()
    shown = figure("state_by_hand").page.evaluate(f"t => Array.from({MATHS}.halves(t))", text)
    assert shown == values.astype(float).tolist()


def across(page):
    return float(page.get_by_role("slider", name="the state z").get_attribute("aria-valuenow"))


@pytest.mark.parametrize("drag", [drag_by_mouse, drag_by_finger])
def test_the_state_is_dragged(figure, drag):
    page = figure("state_by_hand", has_touch=True).page
    before = across(page)
    width = page.locator(".lv-scatter svg").bounding_box()["width"] - 52  # without the margins
    drag(page, page.get_by_role("slider", name="the state z"), width / 8, -20)
    assert across(page) == pytest.approx(before + 1, abs=0.06)


def test_the_state_is_moved_by_keys_and_brought_back(figure):
    page = figure("state_by_hand").page
    before, point = across(page), page.get_by_role("slider", name="the state z")
    point.focus()
    point.press("ArrowRight")
    assert across(page) == pytest.approx(before + 0.1, abs=2e-3)
    page.get_by_role("button", name="Back to our monocyte").click()
    assert across(page) == before


def test_a_turn_moves_the_map_and_not_the_counts(figure):
    page = figure("state_by_hand")
    bars = lambda: page.page.locator(".lv-half rect.lv-area").evaluate_all(  # noqa: E731
        "all => all.map(e => e.getAttribute('width'))")  # fmt: skip
    place, before = across(page.page), bars()
    page.slide("turn", 130)
    assert across(page.page) != pytest.approx(place, abs=0.01)
    assert bars() == before
    assert page.page.locator("[data-fact=same]").inner_text() == "none"
    prior = page.page.locator("[data-fact=prior]").inner_text().split(", ")
    z = json.loads(page.page.evaluate("JSON.stringify(document.querySelector('.nbvae-living')"
                                      ".dataset.trained)"))  # fmt: skip
    z = np.frombuffer(base64.b64decode(json.loads(z)["z"]), "<f2").reshape(60, 10)[3].astype(float)
    expected = -0.5 * (z @ z) - 5 * np.log(2 * np.pi)
    assert [float(p.replace("−", "-")) for p in prior] == pytest.approx([expected] * 2, abs=0.006)


def test_a_cell_on_the_map_is_told(figure):
    """Its kind, library and commonest genes, under the pointer and by touch."""
    page = figure("latent_map").page
    adata = samples.table()
    positions = np.random.default_rng(2).normal(size=(60, 2))
    low, high = positions.min(0), positions.max(0)
    for cell in (5, 31, 59):
        x, y = (positions[cell] - low) / (high - low)
        box = page.locator(".lv-scatter svg").bounding_box()
        inner = (box["width"] - 8) / 1.08, (box["height"] - 12) / 1.08
        page.mouse.click(box["x"] + 4 + (x + 0.04) * inner[0],
                         box["y"] + box["height"] - 6 - (y + 0.04) * inner[1])  # fmt: skip
        told = page.locator(".lv-about").inner_text()
        counts = adata[cell].X.toarray().ravel()
        assert told.startswith(f"{adata.obs['cell_type'].iloc[cell]} · {counts.sum():.0f} ")
        assert told.split("most: ")[1].split(", ") == [
            f"GENE{g}" for g in np.argsort(-counts, kind="stable")[:5]
        ]


def test_the_point_of_the_map_is_moved_by_keys(figure):
    page = figure("latent_map").page
    point = page.get_by_role("slider", name="a point of the map")
    before = float(point.get_attribute("aria-valuenow"))
    point.focus()
    point.press("Shift+ArrowRight")
    assert float(point.get_attribute("aria-valuenow")) == pytest.approx(before + 0.1, abs=2e-3)


def test_a_deep_decoder_is_refused():
    model = samples.untrained()
    model.decoder.layers = torch.nn.Linear(10, 30)
    with pytest.raises(ValueError, match="one hidden layer"):
        samples.living.state_by_hand(model, samples.table(), samples.SHOWN, cell=3)
