"""Numbers in captions and alternative texts are asserted, and one that is not is found."""

import pytest
from captions import uncarried
from nbformat import v4
from notebooks import chapters, read


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_each_number_in_a_caption_is_carried(path):
    assert list(uncarried(read(path))) == []


def chapter(caption, alt="A picture.", before="", drawing="plt.plot(x)", after=""):
    """A chapter with one figure."""
    return v4.new_notebook(cells=[
        v4.new_code_cell(before, id="before"),
        v4.new_code_cell(drawing, id="figure", metadata={"mystnb": {"image": {"alt": alt}}}),
        v4.new_markdown_cell(f"**Figure 1.1.** {caption}"),
        v4.new_code_cell(after, id="after"),
    ])  # fmt: skip


CARRIED = [
    ("It falls to 0.34.", {"before": "assert round(y, 2) == 0.34"}),
    ("It falls to 34 %.", {"before": "assert round(y, 2) == 0.34"}),
    ("About 16 nats.", {"before": "assert 14 < y < 18"}),
    ("Some fifteen nats.", {"before": "assert 14 < y < 18"}),
    ("It falls to 0.34.", {"after": "# Checked: it\nassert round(y, 2) == 0.34"}),
    ("With θ = 0.5.", {"drawing": "plt.plot(nb(0.5))"}),
    ("The truth is 2.", {"before": "truth = 2.0"}),
    ("As (2.7) and Figure 3.2 of chapter 4 say ([Who et al. 2017](references.md)), *CD14*.", {}),
    ("Three panels, $e^{20}$, `top[:12]`, from 0 to 1.", {}),
    ("The labels of Who et al. (2017), as Who et al. 2019 has them.", {}),
    ("Nine times in ten.", {}),
    ("A picture.\n\nBelow it 17.5 is prose.", {}),
]
UNCARRIED = [
    ("It falls to 0.34.", {}, "caption: '0.34'"),
    ("It falls to 0.34.", {"before": "print(0.34)"}, "'0.34'"),
    ("It falls to 0.34.", {"after": "assert round(y, 2) == 0.34"}, "'0.34'"),
    ("It falls to 0.34.", {"before": "assert y > 0.3"}, "'0.34'"),
    ("Some fifteen nats.", {"before": "assert 3 < y < 18"}, "'fifteen nats'"),
    ("All below four per cent.", {}, "'four per cent'"),
    ("A line of 8.", {"drawing": "plt.plot(x, lw=8)"}, "'8'"),
    ("In this run ≈ 19.", {}, "'≈ 19'"),
]


@pytest.mark.parametrize(("caption", "cells"), CARRIED)
def test_what_is_carried_is_left_alone(caption, cells):
    assert list(uncarried(chapter(caption, **cells))) == []


@pytest.mark.parametrize(("caption", "cells", "found"), UNCARRIED)
def test_what_is_not_carried_is_found(caption, cells, found):
    [complaint] = uncarried(chapter(caption, **cells))
    assert found in complaint


def test_alternative_texts_are_read_as_well():
    [complaint] = uncarried(chapter("A picture.", alt="A curve that ends at 671."))
    assert complaint == "cell figure, alternative text: '671'"


def test_what_one_run_printed_may_be_said_of_that_run():
    notebook = chapter("In this run ≈ 19.", before="print(y)")
    notebook.cells[0].outputs = [v4.new_output("stream", text="epoch ≈ 19\n")]
    assert list(uncarried(notebook)) == []
