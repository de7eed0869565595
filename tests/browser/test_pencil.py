"""Pencil exercises in a page: formulas are read as Python reads them, and judged as it judges."""

import html
import json
import math
import re

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from hands import PHONE
from notebooks import ROOT
from scipy import special, stats

from nbvae.teaching import exercises
from nbvae.teaching.exercises import CHECKS, FORMULAS

pytestmark = pytest.mark.slow
ASSETS = ROOT / "book" / "assets"
JUDGE = "([asked, place, text]) => nbvaePencil.judge(asked.parts[place], text)"
VALUE = "([text, names, values]) => nbvaePencil.parse(text, new Map(names)).of(values)"

# of exercise 14.1: the KLs of two cells to the mean of the two, added
LEFT = "+".join(f"{q}*log({q}/{p})+(1-{q})*log((1-{q})/(1-{p}))" for q, p in
                [("q1", "((q1+q2)/2)"), ("q2", "((q1+q2)/2)")])  # fmt: skip

# Python's spelling; the first is right. An answer of several parts has a list for each.
ANSWERS = {
    "1.2": ["zeros**factor", "exp(factor*log(zeros))", "zeros/factor", "1-zeros**factor",
            "-factor*log(zeros)", "exp(-factor*zeros)", "zeros**(1/factor)", "zeros + 1"],
    "2.1": ["(theta/(theta+mean))**theta", "exp(-theta*log(1+mean/theta))", "exp(-mean)",
            "theta/(theta+mean)", "(1+mean*theta)**(-1/theta)", "(theta+mean)**-theta",
            "theta*log(theta/(theta+mean))", "(theta/(theta+mean))**theta*gamma(theta)",
            "(theta/(theta+mean))**mean", "mean-theta"],
    "2.2": [["theta", "theta/(theta+mean)", "1/theta", "mean"],
            ["theta/(theta+mean)", "mean/(theta+mean)", "theta", "1/(1+mean*theta)", "mean"]],
    "3.2": ["((a+b)/2)**2/(((a*a+b*b)/2)/theta + (a-b)**2/4)",
            "(a+b)**2/(2*(a*a+b*b)/theta + (a-b)**2)", "theta", "(a+b)**2*theta/(2*(a*a+b*b))",
            "1/(((a+b)/2)**2/(((a*a+b*b)/2)/theta + (a-b)**2/4))", "a + b"],
    "4.1": ["0.5*(logvar2-logvar1+exp(logvar1-logvar2)+(m1-m2)**2/exp(logvar2)-1)",
            "logvar2-logvar1+exp(logvar1-logvar2)+(m1-m2)**2/exp(logvar2)-1",
            "0.5*(logvar1-logvar2+exp(logvar2-logvar1)+(m1-m2)**2/exp(logvar1)-1)",
            "0.5*(logvar2-logvar1+exp(logvar1-logvar2)+(m1-m2)**2/exp(logvar2))",
            "0.5*(logvar2-logvar1+exp(logvar1-logvar2)-1)", "m1*logvar1"],
    "4.2": ["h*(noise**2-1)/2", "h*0.5*(noise**2-1)", "h*noise/s", "h*(noise**2-1)",
            "h*noise**2/2", "h*(1-noise**2)/2", "h*s"],
    "5.3": ["0.5*(mean**2+exp(logvar)-1-logvar)", "mean**2+exp(logvar)-1-logvar",
            "0.5*(mean**2+exp(0.5*logvar)-1-logvar)", "0.5*(mean**2+exp(logvar)-logvar)",
            "0.5*(mean**2+exp(logvar)-1+logvar)", "0.5*(exp(logvar)-1-logvar)", "mean+logvar"],
    "5.4": ["true_mean*(theta+epsilon)/theta-epsilon", "true_mean-epsilon", "true_mean",
            "theta*(true_mean+epsilon)/(theta+epsilon)", "true_mean*(theta+epsilon)/theta",
            "max(0, true_mean*(theta+epsilon)/theta-epsilon)", "epsilon/theta"],
    "6.1": ["min(1, (epoch-1+progress)/warmup)", "min(1, (epoch-1)/warmup)",
            "(epoch-1+progress)/warmup", "min(1, (epoch+progress)/warmup)",
            "1-min(1, (epoch-1+progress)/warmup)", "progress/2"],
    "6.2": ["ceil(ceil(distance/learning_rate-1e-9)/ceil(n_cells/batch_size))",
            "ceil(ceil(distance/learning_rate)/ceil(n_cells/batch_size))",
            "ceil(distance/learning_rate-1e-9)",
            "ceil(distance/learning_rate/(n_cells/batch_size))",
            "distance/learning_rate/ceil(n_cells/batch_size)", "n_cells"],
    "7.4": ["(mean_a-mean_b)**2+sd_a**2+sd_b**2", "(mean_a-mean_b)**2", "sd_a**2+sd_b**2",
            "(mean_a-mean_b)**2+(sd_a+sd_b)**2", "sqrt((mean_a-mean_b)**2+sd_a**2+sd_b**2)",
            "mean_a+sd_b"],
    "8.2": ["ceil(2*(1-r)*(k*sd/gain)**2-1e-9)", "ceil(2*(k*sd/gain)**2)",
            "ceil((1-r)*(k*sd/gain)**2)", "2*(1-r)*(k*sd/gain)**2",
            "ceil(2*(1+r)*(k*sd/gain)**2)", "k*sd"],
    "9.2": [f"max(Phi(({m}-delta)/{s}), Phi((-delta-{m})/{s}))" for m, s in [
        ("sigma**2/(sigma**2+psi**2)*lfc", "sqrt(sigma**2/(sigma**2+psi**2)*psi**2)"),
        ("lfc", "psi"), ("sigma**2/(sigma**2+psi**2)*lfc", "psi"),
        ("sigma**2/(sigma**2+psi**2)*lfc", "(sigma**2/(sigma**2+psi**2)*psi**2)"),
        ("0*lfc", "sigma")]],
    "10.1": [["kappa*px_mean", "px_mean", "(1-kappa)*px_mean", "kappa+px_mean"],
             ["kappa*px_mean+(kappa*px_mean)**2/theta", "kappa*px_mean",
              "kappa**2*(px_mean+px_mean**2/theta)", "theta"],
             ["(theta/(theta+kappa*px_mean))**theta", "exp(-kappa*px_mean)",
              "theta/(theta+kappa*px_mean)", "kappa"]],
    "10.2": ["abs(p_a-p_b)<0.5", "abs(p_a-p_b)<=0.5", "abs(p_a-p_b)>=0.5", "p_b-p_a<0.5",
             "abs(p_a-p_b)<1", "p_a+p_b<1", "p_a < 0.3"],
    "11.1": ["theta*(x-mean)/(mean+theta)", "(x-mean)/(1+mean/theta)", "x-mean",
             "theta*(mean-x)/(mean+theta)", "(x-mean)/(1+mean*theta)",
             "(x-mean)/sqrt(mean+mean**2/theta)", "x*theta"],
    "12.2": ["(max(1, min(400, round(8e6/n_cells)))-1)/400",
             "max(1, min(400, round(8e6/n_cells)))/400",
             "(max(1, min(400, floor(8e6/n_cells)))-1)/400", "(min(400, round(8e6/n_cells))-1)/400",
             "1 + 0*n_cells", "n_cells/7"],
    "13.1": ["n_cells*(read+step/ranks)/1e6", "n_cells*(read+step)/ranks/1e6",
             "n_cells*(read+step/ranks)", "n_cells*max(read, step/ranks)/1e6", "read*step"],
    "13.2": ["2*above*h/(8*above+8*n+4*(g*h+n*h))", "above*h/(8*above+8*n+4*(g*h+n*h))",
             "2*n*g*h/(4*(n*g+g*h+n*h))", "2*above*h/(8*above+8*n+4*g*h)", "2*above*h",
             "8*above+8*n+4*(g*h+n*h)", "n+g"],
    "14.1": [["(q1+q2)/2", "sqrt(q1*q2)/(sqrt(q1*q2)+sqrt((1-q1)*(1-q2)))", "q1+q2", "1/2+0*q1",
              "((q1>1/2)+(q2>1/2))/2", "q2", "q1*q2"],
             [f"({LEFT})/2", LEFT, f"({LEFT})/2/log(2)", f"-({LEFT})/2",
              "-(q1+q2)/2*log((q1+q2)/2)-(1-(q1+q2)/2)*log(1-(q1+q2)/2)", "q1-q2"]],
    "14.4": ["(1-epsilon)*p+epsilon/(C-1)*(1-p)", "(1-epsilon)*p", "(1-epsilon)*p+epsilon/C",
             "(1-epsilon)*p+epsilon*(1-p)", "p", "log((1-epsilon)*p+epsilon/(C-1)*(1-p))", "C-p"],
}  # fmt: skip
FUNCTIONS = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "abs": abs, "min": min, "max": max,
    "ceil": math.ceil, "floor": math.floor, "round": round, "gamma": special.gamma,
    "Phi": stats.norm.cdf,
}  # fmt: skip
SPELLINGS = [  # as on paper, and Python's
    ("θ^θ (θ + μ)^(−θ)", "theta**theta * (theta + mu)**(-theta)"),
    ("(θ/(θ+μ))^θ", "(theta/(theta+mu))**theta"),
    ("e^(−μ)", "exp(-mu)"),
    ("e^−μ²", "exp(-(mu**2))"),
    ("-μ^2", "-(mu**2)"),
    ("2^3^2", "2**3**2"),
    ("2^-1", "2**-1"),
    ("½(μ² + exp(θ) − 1 − θ)", "0.5*(mu**2 + exp(theta) - 1 - theta)"),
    ("2μθ", "2*mu*theta"),
    ("μ(1 − μ)(1 + θ)", "mu*(1-mu)*(1+theta)"),
    ("|μ − θ|·2", "abs(mu-theta)*2"),
    ("2|μ − |θ − 1||", "2*abs(mu-abs(theta-1))"),
    ("2|μ − (|θ − 1|)|", "2*abs(mu-abs(theta-1))"),
    ("√μ + √(θ)", "sqrt(mu)+sqrt(theta)"),
    ("np.sqrt(mu) * math.exp(theta)", "sqrt(mu)*exp(theta)"),
    ("1e-3 μ + .5", "1e-3*mu + .5"),
    ("μ × θ : 2", "mu*theta/2"),
    ("Γ(θ) / gamma(μ + 1)", "gamma(theta)/gamma(mu+1)"),
    ("Φ(μ) − Φ(−7) + Φ(8)", "Phi(mu) - Phi(-7) + Phi(8)"),
    ("min(μ, θ, 1) + max(μ; θ)", None),
    ("θ − −μ", "theta - -mu"),
    ("1 − μ ≤ θ", "1 - mu <= theta"),
    ("round(2.5) + round(3.5) + round(−0.4)", "round(2.5) + round(3.5) + round(-0.4)"),
    ("ln μ", None),
    ("(μ + θ", None),
    ("μ +", None),
    ("μ θ)", None),
    ("$μ$", None),
    ("", None),
    ("nu + 1", None),
    ("constructor", None),
    ("__proto__", None),
    ("window", None),
    ("alert(1)", None),
    ("mu.constructor", None),
    ("mu[0]", None),
    ("mu = 1", None),
]


def document(*numbers):
    """A page with the forms of exercises, and the book's own style and script."""
    asked = [html.escape(json.dumps(exercises.questions(number))) for number in numbers]
    boxes = "".join(f'<div class="nbvae-pencil" data-asked="{text}"></div>' for text in asked)
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Pencil</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<style>:root {{ --pst-color-primary: #0054a6; --pst-color-background: #fff;
--pst-color-text-base: #323232; --pst-color-text-muted: #48566b }}
html[data-theme=dark] {{ --pst-color-background: #14181e; --pst-color-text-base: #ced6dd;
--pst-color-text-muted: #9ca4af; --pst-color-primary: #6ab0f3 }}
body {{ background: var(--pst-color-background); color: var(--pst-color-text-base); margin: 16px }}
{(ASSETS / "custom.css").read_text(encoding="utf-8")}</style></head>
<body><main><h1>Pencil</h1>{boxes}</main>
<script>{(ASSETS / "pencil.js").read_text(encoding="utf-8")}</script></body></html>"""


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("pencil") / "pencil.html"
    path.write_text(document("2.1", "10.1", "4.1"), encoding="utf-8")
    context = browser.new_context()
    page = context.new_page()
    page.goto(path.as_uri())
    yield page
    context.close()


def python(part, text):
    """The formula as a function of a case, read by Python itself."""
    names = part.typed or part.names
    code = compile(text, "formula", "eval")
    return lambda *case: eval(code, FUNCTIONS | dict(zip(names, part.values(*case), strict=True)))


def each_part():
    for number, answers in ANSWERS.items():
        of_parts = answers if isinstance(answers[0], list) else [answers]
        yield from ((number, place, texts) for place, texts in enumerate(of_parts))


def test_every_formula_is_tried():
    assert ANSWERS.keys() == FORMULAS.keys()
    assert all(len(exercises.parts(n)) == sum(m == n for m, *_ in each_part()) for n in FORMULAS)


@pytest.mark.parametrize(("number", "place", "texts"), [*each_part()])
def test_the_page_judges_formulas_as_python_does(number, place, texts, page):
    asked, part = exercises.questions(number), exercises.parts(number)[place]
    said = [page.evaluate(JUDGE, [asked, place, text]) for text in texts]
    assert said == [part.diagnose(python(part, text)) for text in texts]
    assert said[0] is None
    named = [told for told in said if told in {f"{complaint}." for complaint in part.slips}]
    assert len(set(named)) >= 2, "different mistakes get different diagnoses"
    assert "it should be" in said[-1], "and one that has no name"


@pytest.mark.parametrize(("number", "place", "texts"), [*each_part()])
def test_the_page_judges_numbers_as_python_does(number, place, texts, page):
    asked, part = exercises.questions(number), exercises.parts(number)[place]
    if part.sample == ():
        assert asked["parts"][place]["sample"] is None
        return
    numbers = [float(python(part, text)(*part.one_case())) for text in texts]
    texts = [f"{number:.4g}" for number in numbers if math.isfinite(number)]
    said = [page.evaluate(JUDGE, [asked, place, text]) for text in texts]
    assert said == [part.diagnose_number(float(text)) for text in texts]
    assert said[0] is None
    assert any(said[1:])


@pytest.mark.parametrize("number", [n for n in FORMULAS if len(exercises.parts(n)) == 1])
def test_the_notebooks_check_says_the_same(number, page, capsys):
    """Of a wrong formula, wherever the check takes the very arguments of the formula."""
    part, asked = exercises.parts(number)[0], exercises.questions(number)
    if CHECKS[number].diagnose.__name__ != "<lambda>":
        return  # its check asks for more than the formula
    for text in ANSWERS[number][1:]:
        exercises.check(number, python(part, text))
        line = capsys.readouterr().out.strip()
        told = page.evaluate(JUDGE, [asked, 0, text])
        assert line == (f"✗ Exercise {number}: {told}" if told else
                        f"✓ Exercise {number}: {CHECKS[number].praise}")  # fmt: skip


@pytest.mark.parametrize(("paper", "text"), SPELLINGS)
def test_formulas_are_read_as_they_are_written_on_paper(paper, text, page):
    values = {"mu": 1.7, "theta": 0.6}
    names = [["μ", 0], ["θ", 1]]
    if text is None:
        told = page.evaluate(JUDGE, [exercises.questions("2.1"), 0, paper])
        assert told == "not solved yet." or told.startswith("this formula can't be read: ")
    else:
        found = page.evaluate(VALUE, [paper, names, list(values.values())])
        assert found == pytest.approx(float(eval(text, FUNCTIONS | values)), rel=1e-12, abs=1e-14)


def test_a_keyboard_answers_and_the_verdict_is_announced(page):
    form = page.locator("form.pencil").first
    field, said = form.get_by_role("textbox"), form.get_by_role("status")
    assert said.inner_text() == ""
    field.focus()
    page.keyboard.type("exp(-")
    page.keyboard.press("Tab")  # to the first of the names
    page.keyboard.press("Enter")
    page.keyboard.type(")")
    assert field.input_value() == "exp(-μ)"
    page.keyboard.press("Enter")
    assert said.inner_text().startswith("✗ Exercise 2.1: this is the Poisson's")
    assert field.get_attribute("aria-invalid") == "true"
    field.fill("(theta / (theta + mu))^theta")
    page.keyboard.press("Enter")
    assert said.inner_text() == f"✓ Exercise 2.1: {CHECKS['2.1'].praise}"
    assert field.get_attribute("aria-invalid") == "false"


def test_of_several_answers_the_first_wrong_one_is_named(page):
    form = page.get_by_role("form", name="Exercise 10.1")
    fields, said = form.get_by_role("textbox").all(), form.get_by_role("status")
    for field, text in zip(fields, ("κμ", "κμ", "1"), strict=True):
        field.fill(text)
    form.get_by_role("button", name="Check").click()
    assert re.match(
        r"✗ Exercise 10.1: the variance: the variance is that of a Poisson", said.inner_text()
    )
    assert [f.get_attribute("aria-invalid") for f in fields] == ["false", "true", "false"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_forms(theme, page):
    page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
    found = Axe().run(page).response["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []


def test_a_phone_can_show_them(page):
    page.set_viewport_size(PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    targets = [
        target.bounding_box() for target in page.locator("form.pencil :is(button, input)").all()
    ]
    assert all(min(box["width"], box["height"]) >= 24 for box in targets)


def test_in_print_there_is_no_form(page):
    page.emulate_media(media="print")
    assert not page.locator("form.pencil").first.is_visible()
    page.emulate_media(media="screen")
