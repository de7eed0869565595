"""The shared figures: every cell is drawn, no two groups look alike, code is shown as it is."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from nbvae.teaching import plotting


@pytest.fixture
def ax():
    matplotlib.use("Agg")
    fig, ax = plt.subplots()
    yield ax
    plt.close(fig)


@pytest.mark.parametrize("n_groups", [1, 10, 11, 30])
def test_every_group_is_drawn_and_looks_like_no_other(ax, n_groups):
    """Else the cells of an eleventh cluster would be missing from the map, without a word."""
    groups = pd.Series([f"cluster {i}" for i in range(n_groups)] * 3, dtype="category")
    points = np.random.default_rng(0).standard_normal((3 * n_groups, 2))
    plotting.scatter_groups(points, groups, ax=ax)
    drawn = np.concatenate([group.get_offsets() for group in ax.collections])
    np.testing.assert_allclose(np.sort(drawn, axis=0), np.sort(points, axis=0))
    looks = {
        (tuple(group.get_facecolor()[0]), group.get_paths()[0].vertices.tobytes())
        for group in ax.collections
    }
    assert len(looks) == n_groups
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == list(groups.cat.categories)


def test_the_legend_can_be_left_out(ax):
    """Else a panel beside another would list its groups twice."""
    groups = pd.Series(["a", "b"], dtype="category")
    plotting.scatter_groups(np.zeros((2, 2)), groups, ax=ax, title="t", legend=False)
    assert ax.get_legend() is None and ax.get_title() == "t"


def test_the_highest_values_are_drawn_last(ax):
    """Else the few bright cells would lie under the many dark ones."""
    values = np.array([0.3, 5.0, -1.0, 2.0])
    points = np.column_stack([values, -values])
    plotting.scatter_values(points, values, ax=ax, label="share")
    np.testing.assert_array_equal(ax.collections[0].get_array(), [-1.0, 0.3, 2.0, 5.0])
    np.testing.assert_array_equal(ax.collections[0].get_offsets()[:, 0], [-1.0, 0.3, 2.0, 5.0])
    assert ax.figure.axes[-1].get_ylabel() == "share"


@pytest.mark.parametrize(("best_epoch", "n_lines"), [(None, 2), (2, 3)])
def test_learning_curves_show_both_columns_and_the_best_epoch(ax, best_epoch, n_lines):
    """Else a reader would take the training curve for the held-out one."""
    history = pd.DataFrame(
        {"train_neg_elbo": [9.0, 5.0, 4.0], "held_out_neg_elbo": [8.0, 6.0, 7.0]},
        index=pd.Index([1, 2, 3], name="epoch"),
    )
    plotting.learning_curves(history, ax=ax, best_epoch=best_epoch)
    by_label = {line.get_label(): line for line in ax.lines}
    assert len(ax.lines) == n_lines
    np.testing.assert_array_equal(by_label["training cells"].get_ydata(), [9, 5, 4])
    np.testing.assert_array_equal(by_label["held-out cells"].get_xdata(), [1, 2, 3])
    if best_epoch:
        np.testing.assert_array_equal(by_label["best epoch, 2"].get_xdata(), [2, 2])


def test_two_pieces_of_code_stand_side_by_side_with_their_differences_marked():
    """Else the page would break at a <, or mark lines that both have."""

    def before(x):
        small = x < 1
        return small

    def after(x):
        small = x < 2
        return small

    shown = plotting.SideBySide(before, after, titles=("draft", "a & b"))
    html = shown._repr_html_()
    assert "<mark>    small = x &lt; 1</mark>" in html
    assert "<mark>    small = x &lt; 2</mark>" in html
    assert "<mark>    return small</mark>" not in html and "    return small" in html
    assert "<strong>a &amp; b</strong>" in html
    assert repr(shown).startswith("# draft\ndef before(x):\n    small = x < 1")


def test_the_style_is_the_same_for_all_figures():
    """Else chapters would look as if they were of different books."""
    with matplotlib.rc_context():
        plotting.use_style()
        colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
        assert colours == list(plotting.PALETTE)
        assert not plt.rcParams["legend.frameon"]
