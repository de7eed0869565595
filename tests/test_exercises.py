"""Every check: right answers pass, however written, and each wrong one gets its own diagnosis."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import NegativeBinomial, Normal, kl_divergence

from nbvae import exercises


def verdict(check, *answer, capsys):
    check(*answer)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1, "a check prints one line"
    return lines[0]


# ---------------------------------------------------------------- right answers, two of each


def pick_link_by_match(link):
    match link:
        case None:
            return nn.Identity()
        case "exp":
            return torch.exp
        case "softmax":
            return nn.Softmax(dim=-1)
        case _ if callable(link):
            return link
    raise ValueError("known links: exp, softmax")


def pick_link_by_dictionary(link):
    if link is not None and callable(link):
        return link
    known = {None: lambda y: y, "exp": torch.exp, "softmax": lambda y: y.softmax(-1)}
    if link not in known:
        raise ValueError(f"{link!r} is none of exp, softmax")
    return known[link]


def neg_elbo_by_lgamma(x, qz_mean, qz_logvar, log_px_scale, log_theta):
    library, theta = x.sum(-1, keepdim=True), log_theta.exp()
    mean = library * log_px_scale.exp()
    total = (theta + mean).log()
    log_prob = (x + theta).lgamma() - theta.lgamma() - (x + 1).lgamma()
    log_prob = log_prob + torch.special.xlogy(x, mean) - x * total + theta * (log_theta - total)
    return 0.5 * (qz_mean**2 + qz_logvar.expm1() - qz_logvar).sum(-1) - log_prob.sum(-1)


def neg_elbo_by_distributions(x, qz_mean, qz_logvar, log_px_scale, log_theta):
    library = x.sum(-1, keepdim=True)
    safe = torch.where(library > 0, library, 1.0)
    likelihood = NegativeBinomial(log_theta.exp(), logits=safe.log() + log_px_scale - log_theta)
    log_prob = torch.where(library > 0, likelihood.log_prob(x), 0.0).sum(-1)
    posterior = Normal(qz_mean, (qz_logvar / 2).exp())
    return kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1) - log_prob


def stop_by_argmin(held_out, patience):
    for last in range(1, len(held_out) + 1):
        best = int(np.argmin(held_out[:last])) + 1
        if last - best >= patience:
            return best, last
    return best, len(held_out)


def stop_by_counter(held_out, patience):
    best, waited = 0, 0
    for i, value in enumerate(held_out):
        best, waited = (i, 0) if value < held_out[best] or i == 0 else (best, waited + 1)
        if waited == patience:
            return best + 1, i + 1
    return best + 1, len(held_out)


def stop_with_restored_patience(held_out, patience):
    best, waited = 0, 0
    for i in range(1, len(held_out)):
        if held_out[i] < held_out[best]:
            best = i
        waited = 0 if held_out[i] < held_out[i - 1] else waited + 1
        if waited == patience:
            return best + 1, i + 1
    return best + 1, len(held_out)


def hold_out_by_choice(groups, fraction, rng):
    held = np.zeros(len(groups), dtype=bool)
    for group in set(groups):
        rows = np.flatnonzero(groups == group)
        held[rng.choice(rows, round(fraction * len(rows)), replace=False)] = True
    return held


def hold_out_rounding_down(groups, fraction, rng):
    held = np.zeros(len(groups), dtype=bool)
    for group in set(groups):
        rows = np.flatnonzero(groups == group)
        held[rng.choice(rows, int(fraction * len(rows)), replace=False)] = True
    return held


def hold_out_by_rank(groups, fraction, rng):
    noise, held = rng.random(len(groups)), np.zeros(len(groups), dtype=bool)
    for group in np.unique(groups):
        inside = groups == group
        limit = np.sort(noise[inside])[round(fraction * inside.sum()) - 1]
        held |= inside & (noise <= limit)
    return held


def epoch_by_slices(module, optimizer, x, batch_size):
    order, losses = torch.randperm(len(x)), []
    for start in range(0, len(x), batch_size):
        output = module(x[order[start : start + batch_size]])
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses += output.reconstruction.tolist()
    return sum(losses) / len(losses)


def epoch_by_split(module, optimizer, x, batch_size):
    total = torch.zeros(())
    for batch in x[torch.randperm(len(x))].split(batch_size):
        module.zero_grad()
        loss = module(batch).loss
        loss.backward()
        total += loss.detach() * len(batch)
        optimizer.step()
    return total / len(x)


def purity_by_table(clusters, labels):
    table = np.array([[np.sum((clusters == c) & (labels == k)) for k in set(labels)]
                      for c in set(clusters)])  # fmt: skip
    return table.max(axis=1).sum() / table.sum()


def purity_by_loop(clusters, labels):
    right = 0
    for c in np.unique(clusters):
        inside = list(labels[clusters == c])
        right += max(inside.count(label) for label in inside)
    return right / len(labels)


def rotate_by_qr(z, rng):
    return z @ np.linalg.qr(rng.standard_normal((z.shape[1], z.shape[1])))[0]


def rotate_by_svd(z, rng):
    u, _, vt = np.linalg.svd(rng.standard_normal((z.shape[1], z.shape[1])))
    return z @ (u @ vt)


def agree_by_sklearn(z, labels, k):
    from sklearn.neighbors import NearestNeighbors

    nearest = NearestNeighbors(n_neighbors=k + 1).fit(z).kneighbors(z, return_distance=False)
    return np.mean(labels[nearest[:, 1:]] == labels[:, None])


def agree_by_loop(z, labels, k):
    shares = []
    for i in range(len(z)):
        distance = ((z - z[i]) ** 2).sum(axis=1)
        distance[i] = np.inf
        shares.append(np.mean(labels[np.argsort(distance)[:k]] == labels[i]))
    return np.mean(shares)


RIGHT = {
    "pick_link": (pick_link_by_match, pick_link_by_dictionary),
    "draw": (
        lambda m, v, e: m + (v / 2).exp() * e,
        lambda m, v, e: torch.addcmul(m, v.exp().sqrt(), e),
    ),
    "kl_to_prior": (
        lambda m, v: (m**2 + v.exp() - 1 - v).sum(1) / 2,
        lambda m, v: kl_divergence(Normal(m, (v / 2).exp()), Normal(0.0, 1.0)).sum(-1),
    ),
    "learned_mean": (
        lambda x, t, e: x * (t + e) / t - e,
        lambda x, t, e: x + e * (x / t - 1),
    ),
    "neg_elbo": (neg_elbo_by_distributions, neg_elbo_by_lgamma),
    "kl_weight": (
        lambda e, p, w: min(1.0, (e - 1 + p) / w) if w else 1,
        lambda e, p, w: float(np.clip((e - 1 + p) / max(w, 1e-9), 0, 1)),
    ),
    "epochs_to_travel": (
        lambda d, r, n, b: math.ceil(round(d / r) / math.ceil(n / b)),
        lambda d, r, n, b: -(-round(d / r) // -(-n // b)),
    ),
    "stop": (stop_by_argmin, stop_by_counter),
    "hold_out": (hold_out_by_choice, hold_out_by_rank),
    "one_epoch": (epoch_by_slices, epoch_by_split),
    "purity": (purity_by_table, purity_by_loop),
    "rotate": (rotate_by_qr, rotate_by_svd),
    "neighbours_agree": (agree_by_sklearn, agree_by_loop),
    "expected_squared_distance": (
        lambda a, s, b, t: float(((a - b) ** 2).sum() + (s**2).sum() + (t**2).sum()),
        lambda a, s, b, t: np.linalg.norm(np.concatenate([a - b, s, t])) ** 2,
    ),
}  # fmt: skip


# ------------------------------------------------- wrong answers, and a word of the diagnosis


def epoch_without_zero_grad(module, optimizer, x, batch_size):
    for rows in torch.randperm(len(x)).split(batch_size):
        module(x[rows]).loss.backward()
        optimizer.step()
    return 0.0


def epoch_with_one_zero_grad(module, optimizer, x, batch_size):
    optimizer.zero_grad()
    return epoch_without_zero_grad(module, optimizer, x, batch_size)


def epoch_that_drops_the_last(module, optimizer, x, batch_size):
    for rows in torch.randperm(len(x)).split(batch_size)[:-1]:
        optimizer.zero_grad()
        module(x[rows]).loss.backward()
        optimizer.step()
    return 0.0


def epoch_in_file_order(module, optimizer, x, batch_size):
    losses = []
    for batch in x.split(batch_size):
        output = module(batch)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses += output.reconstruction.tolist()
    return sum(losses) / len(losses)


def epoch_mean_of_means(module, optimizer, x, batch_size):
    losses = []
    for rows in torch.randperm(len(x)).split(batch_size):
        loss = module(x[rows]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return sum(losses) / len(losses)


def no_refusal(link):
    return link if callable(link) else {"exp": torch.exp, "softmax": nn.Softmax(-1)}.get(
        link, lambda y: y
    )  # fmt: skip


def falsy_link(link):
    if not link:
        return lambda y: y
    return pick_link_by_dictionary(link)


def with_constant(x, m, v, s, t):
    logits = (x.sum(-1, keepdim=True) * s.exp() + 1e-4).log() - (t.exp() + 1e-4).log()
    log_prob = NegativeBinomial(t.exp(), logits=logits).log_prob(x).sum(-1)
    return 0.5 * (m**2 + v.exp() - 1 - v).sum(-1) - log_prob


def inverted_theta(x, m, v, s, t):
    return neg_elbo_by_distributions(x, m, v, s, -t)


def mean_over_genes(x, m, v, s, t):
    kl = 0.5 * (m**2 + v.exp() - 1 - v).sum(-1)
    return (neg_elbo_by_distributions(x, m, v, s, t) - kl) / x.shape[1] + kl


def first_rows(groups, fraction, rng):
    return np.concatenate([np.arange((groups == g).sum()) < round(fraction * (groups == g).sum())
                           for g in np.unique(groups)])  # fmt: skip


def not_stratified(groups, fraction, rng):
    held = np.zeros(len(groups), dtype=bool)
    held[rng.choice(len(groups), round(fraction * len(groups)), replace=False)] = True
    return held


def purity_mean_of_means(clusters, labels):
    return np.mean([np.unique(labels[clusters == c], return_counts=True)[1].max()
                    / (clusters == c).sum() for c in np.unique(clusters)])  # fmt: skip


def agree_with_itself(z, labels, k):
    distances = np.linalg.norm(z[:, None] - z[None], axis=-1)
    return np.mean(labels[np.argsort(distances, axis=1)[:, :k]] == labels[:, None])


def agree_k_plus_one(z, labels, k):
    return agree_with_itself(z, labels, k + 1)


WRONG = [
    ("pick_link", no_refusal, "names that nobody defined"),
    ("pick_link", falsy_link, "empty nn.Sequential"),
    ("pick_link", lambda link: link, "can't be called"),
    ("draw", lambda m, v, e: m + v.exp() * e, "variance"),
    ("draw", lambda m, v, e: m + v * e, "log-variance itself"),
    ("draw", lambda m, v, e: m, "no effect"),
    ("draw", lambda m, v, e: (m + (v / 2).exp() * e).detach(), "no gradient"),
    ("draw", lambda m, v, e: m + (v / 2).exp().detach() * e, "reaches the log-variance"),
    ("draw", lambda m, v, e: m + v.sqrt() * e, "square root"),
    ("kl_to_prior", lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).sum(0), "over the cells"),
    ("kl_to_prior", lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).sum(), "one number for all"),
    ("kl_to_prior", lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v), "each coordinate"),
    ("kl_to_prior", lambda m, v: 0.5 * (m**2 + v.exp() - 1 - v).mean(1), "averaged"),
    ("kl_to_prior", lambda m, v: (m**2 + v.exp() - 1 - v).sum(1), "½ is missing"),
    ("kl_to_prior", lambda m, v: -0.5 * (m**2 + v.exp() - 1 - v).sum(1), "sign"),
    (
        "kl_to_prior",
        lambda m, v: 0.5 * (m**2 + v - 1 - v.abs().log()).sum(1),
        "as if it were the variance",
    ),
    ("kl_to_prior", lambda m, v: 0.5 * (m**2 + v - 1 - v.log()).sum(1), "NaN"),
    ("learned_mean", lambda x, t, e: t * (x + e) / (t + e), "scored mean"),
    ("learned_mean", lambda x, t, e: max(0.0, x * (t + e) / t - e), "at your μ"),
    ("learned_mean", lambda x, t, e: x - e, "scored mean is"),
    ("neg_elbo", with_constant, "constant in a logarithm"),
    ("neg_elbo", inverted_theta, "swapped"),
    ("neg_elbo", mean_over_genes, "averaged over genes"),
    ("neg_elbo", lambda *a: -neg_elbo_by_distributions(*a), "this is the ELBO"),
    (
        "neg_elbo",
        lambda x, m, v, s, t: (
            neg_elbo_by_distributions(x, m, v, s, t) + torch.where(x.sum(-1) == 0, torch.nan, 0.0)
        ),
        "empty cell",
    ),
    ("kl_weight", lambda e, p, w: min(1, e / w) if w else 1, "once an epoch"),
    ("kl_weight", lambda e, p, w: (e - 1 + p) / w if e <= w else 1.0 * (w == 0), "stay at 1"),
    ("kl_weight", lambda e, p, w: (e - 1 + p) / w if w else 1, "above 1"),
    ("kl_weight", lambda e, p, w: min(1, (e + p) / w) if w else 1, "too far"),
    ("epochs_to_travel", lambda d, r, n, b: round(d / r), "these are steps"),
    ("epochs_to_travel", lambda d, r, n, b: math.ceil(round(d / r) / (n // b)), "smaller last"),
    ("epochs_to_travel", lambda d, r, n, b: round(d / r) / math.ceil(n / b), "round up"),
    ("stop", lambda h, p: (int(np.argmin(h)) + 1, len(h)), "future"),
    ("stop", lambda h, p: tuple(i - 1 for i in stop_by_argmin(h, p)), "count from 1"),
    ("stop", lambda h, p: stop_by_argmin(h, p + 1), "neither earlier nor later"),
    ("stop", stop_with_restored_patience, "does not restore patience"),
    ("hold_out", hold_out_rounding_down, "should give"),
    ("hold_out", not_stratified, "draw within each group"),
    ("hold_out", first_rows, "not drawn at random"),
    ("hold_out", lambda g, f, r: ~hold_out_by_choice(g, f, r), "wrong way round"),
    ("hold_out", lambda g, f, r: np.flatnonzero(hold_out_by_choice(g, f, r)), "booleans"),
    ("one_epoch", epoch_without_zero_grad, "pile up"),
    ("one_epoch", epoch_with_one_zero_grad, "pile up"),
    ("one_epoch", epoch_that_drops_the_last, "dropped"),
    ("one_epoch", epoch_in_file_order, "same order"),
    ("one_epoch", epoch_mean_of_means, "mean of the minibatches"),
    ("purity", purity_mean_of_means, "as much as a large one"),
    ("purity", lambda c, k: 10 * purity_by_loop(c, k), "divide"),
    ("purity", lambda c, k: purity_by_loop(k, c), "commonest label of each"),
    ("rotate", lambda z, r: z @ r.standard_normal((5, 5)), "not orthogonal"),
    ("rotate", lambda z, r: z, "nothing has turned"),
    ("rotate", lambda z, r: z[:, r.permutation(5)], "only swaps"),
    ("rotate", lambda z, r: 3 * rotate_by_qr(z, r), "one factor"),
    ("neighbours_agree", agree_with_itself, "its own neighbours"),
    ("neighbours_agree", agree_k_plus_one, "drop it"),
    ("expected_squared_distance", lambda a, s, b, t: ((a - b) ** 2).sum(), "spreads are missing"),
    (
        "expected_squared_distance",
        lambda a, s, b, t: ((a - b) ** 2).sum() + (s + t).sum(),
        "variances add",
    ),
    ("expected_squared_distance", lambda a, s, b, t: (a - b) ** 2 + s**2 + t**2, "add them up"),
]


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("which", [0, 1])
def test_right_answers_pass_however_they_are_written(name, which, capsys):
    check = getattr(exercises, f"check_{name}")
    assert verdict(check, RIGHT[name][which], capsys=capsys).startswith("✓ Exercise ")


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_a_wrong_answer_gets_its_diagnosis(name, answer, words, capsys):
    line = verdict(getattr(exercises, f"check_{name}"), answer, capsys=capsys)
    assert line.startswith("✗ Exercise ")
    assert words in line


def test_every_check_is_tried_with_right_and_wrong_answers():
    names = {name.removeprefix("check_") for name in exercises.__all__}
    assert names == RIGHT.keys()
    for name in names:
        words = {w for n, _, w in WRONG if n == name}
        assert len(words) >= 2, f"{name} needs two wrong answers with different diagnoses"


@pytest.mark.parametrize("name", exercises.__all__)
@pytest.mark.parametrize("unsolved", [..., lambda *arguments: ..., lambda *arguments: None])
def test_an_unsolved_exercise_says_so(name, unsolved, capsys):
    assert "not solved yet" in verdict(getattr(exercises, name), unsolved, capsys=capsys)


@pytest.mark.parametrize("name", exercises.__all__)
def test_an_error_in_the_answer_becomes_part_of_the_line(name, capsys):
    def broken(*arguments):
        raise RuntimeError("of mine")

    line = verdict(getattr(exercises, name), broken, capsys=capsys)
    assert line.startswith("✗")
    assert "RuntimeError: of mine" in line or "not RuntimeError" in line
