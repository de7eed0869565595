"""The figure of chapter 10 counts neighbours as the chapter does."""

import numpy as np
import pytest
import samples
from sklearn.neighbors import NearestNeighbors

from nbvae.teaching.living.batches import _turned

pytestmark = pytest.mark.slow


def own(points, labels):
    """Share of the 15 nearest neighbours that have a cell's own label, (n_cells,)."""
    found = NearestNeighbors(n_neighbors=16).fit(points)
    near = found.kneighbors(points, return_distance=False)[:, 1:]
    return (labels[near] == labels[:, None]).mean(axis=1)


def shown(page, name):
    """A fact of both maps."""
    texts = page.page.locator(f"[data-fact={name}]").all_inner_texts()
    return [float(text.removesuffix(" %")) / 100 for text in texts]


def test_neighbours_are_counted_for_every_map(figure):
    page, all_shown = figure("two_experiments"), set()
    for i, share in enumerate(sorted(samples.SHARES)):
        for j in range(len(samples.EPOCHS)):
            page.slide("share", i)
            page.slide("epochs", j)
            maps = [of[j] for of in samples.places()[share].values()]
            batch, lineage = samples.dealt(share), samples.LINEAGE
            mixed = [own(place, batch).mean() for place in maps]
            kept = [
                np.mean([own(place, lineage)[lineage == k].mean() for k in (0, 1)])
                for place in maps
            ]
            # two bytes a place: a neighbour may change where two are equally far
            assert shown(page, "own") == pytest.approx(mixed, abs=2e-3)
            assert shown(page, "kind") == pytest.approx(kept, abs=2e-3)
            all_shown.add((*shown(page, "own"), *shown(page, "kind")))
    assert len(all_shown) == 6


def test_chance_is_that_of_shuffled_labels(figure):
    """Oracle: the labels shuffled within kinds, 400 times."""
    page, rng = figure("two_experiments"), np.random.default_rng(0)
    seen = []
    for i, share in enumerate(sorted(samples.SHARES)):
        page.slide("share", i)
        batch, lineage = samples.dealt(share), samples.LINEAGE
        for name, place in enumerate(of[-1] for of in samples.places()[share].values()):
            shuffled = []
            for _ in range(400):
                anew = batch.copy()
                for kind in (0, 1):
                    anew[lineage == kind] = rng.permutation(batch[lineage == kind])
                shuffled.append(own(place, anew).mean())
            assert shown(page, "chance")[name] == pytest.approx(np.mean(shuffled), abs=0.01)
            seen.append(shown(page, "chance")[name])
    assert np.ptp(seen) > 0.1


def test_the_deal_is_told_in_numbers(figure):
    page = figure("two_experiments")
    page.slide("share", 0)
    told = page.page.locator(".lv-about").inner_text()
    assert told == (
        "Experiment A: 30 lymphocytes, 0 myeloid cells. "
        "Experiment B: 0 lymphocytes, 30 myeloid cells."
    )


def test_training_is_moved_by_keys(figure):
    page = figure("two_experiments")
    slider, before = page.page.get_by_role("slider", name="epochs"), shown(page, "kind")
    slider.focus()
    slider.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext") == "5"
    slider.press("ArrowLeft")
    assert shown(page, "kind") != before


def test_what_a_ring_means_is_said(figure):
    page = figure("two_experiments").page
    key = page.locator(".lv-hint")
    assert key.inner_text() == "lymphocytes, myeloid cells; dots: A, rings: B"
    page.get_by_role("radio", name="which experiment").check()
    assert key.inner_text() == "A, B; dots: lymphocytes, rings: myeloid cells"


def test_maps_are_only_turned():
    """Distances between cells stay, so that their neighbours do."""
    place = np.random.default_rng(0).normal(size=(60, 2))
    (first, second) = _turned([place @ [[0.0, -1.0], [1.0, 0.0]], place], None)
    assert first == pytest.approx(second, abs=1e-9)
