/* Chapter 9: which genes differ between two groups, and how the answer depends on the question. */
(function (living) {
  "use strict";
  const { floats, halves, normalDensity } = living.maths;
  const WIDTHS = [0, ...Array.from({ length: 17 }, (_, i) => 2 ** (i / 2 - 4))]; // of the prior
  const sum = (list) => list.reduce((a, b) => a + b, 0);

  /* P(Z > x), by Chebyshev's fit to erfc (Press et al., Numerical Recipes). */
  const FIT = [0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806,
    0.09678418, 0.37409196, 1.00002368, -1.26551223];
  function tail(x) {
    const z = Math.abs(x) / Math.SQRT2;
    const t = 1 / (1 + z / 2);
    const half = 0.5 * t * Math.exp(FIT.reduce((a, c) => a * t + c, 0) - z * z);
    return x >= 0 ? half : 1 - half;
  }

  /* The prior's weights by EM, and each gene's posterior: (9.10), for each width. */
  function shrink(lfc, sd) {
    const genes = Array.from(lfc, (x, g) => {
      const kept = WIDTHS.map((w) => w ** 2 / (w ** 2 + sd[g] ** 2));
      const log = WIDTHS.map((w) => -Math.log(Math.hypot(w, sd[g])) - (x / Math.hypot(w, sd[g])) ** 2 / 2);
      return { likely: log.map((v) => Math.exp(v - Math.max(...log))), x, sd: sd[g],
        means: kept.map((v) => v * x), sds: kept.map((v) => Math.sqrt(v) * sd[g]) };
    });
    let prior = WIDTHS.map(() => 1 / WIDTHS.length);
    for (let round = 0; round <= 200; round += 1) {
      const next = WIDTHS.map(() => 0);
      for (const gene of genes) {
        const both = gene.likely.map((v, k) => v * prior[k]);
        const all = sum(both);
        gene.weights = both.map((v) => v / all);
        gene.weights.forEach((v, k) => (next[k] += v / genes.length));
      }
      if (round < 200) prior = next;
    }
    for (const gene of genes) gene.mean = sum(gene.weights.map((v, k) => v * gene.means[k]));
    return genes;
  }

  /* P(LFC ≥ δ) where sign is 1, P(LFC ≤ −δ) where it is −1. */
  const beyond = ({ weights, means, sds }, delta, sign) => sum(weights.map((v, k) =>
    (k ? v * tail((delta - sign * means[k]) / sds[k]) : 0)));

  /* (9.11): the surest first, while the mean of 1 − p stays at or below the FDR. */
  function call(genes, delta, fdr) {
    const p = genes.map((gene) => Math.max(beyond(gene, delta, 1), beyond(gene, delta, -1)));
    const order = p.map((_, g) => g).sort((a, b) => p[b] - p[a]);
    let [n, doubt] = [0, 0];
    while (n < p.length && doubt + 1 - p[order[n]] <= fdr * (n + 1)) doubt += 1 - p[order[n++]];
    return { p, called: new Set(order.slice(0, n)), expected: doubt / Math.max(n, 1) };
  }
  const SPAN = 9; // log₂ units, the panel's half
  const within = (lfc) => Math.max(-SPAN, Math.min(SPAN, lfc));
  living.volcano = { tail, shrink, beyond, call };

  living.register("volcano", (stage, data) => {
    const { names } = data;
    const state = { pair: 0, delta: 0.25, fdr: 0.05, gene: names.indexOf(data.gene) };
    const row = () => living.add(stage, "div", { class: "lv-row" });
    const [choices, knobs] = [row(), row()];
    living.select(choices, { label: "groups", value: 0, on: (i) => change({ pair: Number(i) }),
      options: data.pairs.map((pair, i) => [i, pair.slice(0, 2).join(" against ")]) });
    const list = living.select(choices, { label: "gene", value: data.gene,
      options: [...new Set([...data.markers, ...names])].map((g) => [g, g]), on: (name) => change({ gene: names.indexOf(name) }) });
    living.slider(knobs, { label: "δ, the smallest difference that counts", min: 0, max: 3, step: 0.05,
      value: state.delta, on: (delta) => change({ delta }) });
    living.slider(knobs, { label: "accepted share of false calls", min: 0.01, max: 0.5, step: 0.01,
      value: state.fdr, text: (v) => `${Math.round(100 * v)} %`, on: (fdr) => change({ fdr }) });
    const fact = living.facts(stage, [["called", "genes called", "indigo"],
      ["expected", "of them false, expected"], ["typical", "p of a typical gene"], ["p", "p of this gene", "rose"]]);
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const [left, right] = ["wide", "narrow"].map((c) => living.add(panels, "div", { class: `lv-${c}` }));
    const cloud = living.scatter(left, { label: "p of each gene against its LFC", height: 300,
      x: { domain: [-SPAN, SPAN], label: "LFC, log₂ (right: more in the first)" }, y: { domain: [0, 1.03], label: "p, that it differs by δ" } });
    const chart = living.chart(right, { label: "What is known of this gene's LFC", height: 230,
      x: { label: "this gene's LFC" }, y: { domain: [0, 1.05], hidden: true }, margin: { left: 12 } });
    const about = living.add(right, "p", { class: "lv-about" });
    living.add(stage, "p", { class: "lv-hint" }, "Large dots are called. Touch one, or choose a gene. Faint, and " +
      "dashed: LFCs by themselves. Filled: after all genes were heard; bar: how probable no difference is. Dotted: ±δ.");
    const pick = ({ clientX, clientY }) => {
      const box = cloud.root.getBoundingClientRect();
      const far = now.genes.map((gene, g) => Math.hypot(
        cloud.pen.x(gene.mean) - clientX + box.left, cloud.pen.y(now.p[g]) - clientY + box.top));
      const gene = far.indexOf(Math.min(...far));
      if (far[gene] < 20 && gene !== state.gene) change({ gene });
    };
    cloud.root.addEventListener("click", pick);
    cloud.root.addEventListener("pointermove", (event) => event.pointerType === "mouse" && pick(event));
    let now;

    function draw() {
      const [a, b, lfc, sd] = data.pairs[state.pair];
      const genes = (data.pairs[state.pair].genes ||= shrink(floats(lfc), floats(sd)));
      const { p, called, expected } = (now = { genes, ...call(genes, state.delta, state.fdr) });
      const [g, gene] = [state.gene, genes[state.gene]];
      const limits = (pen) => [-state.delta, state.delta].forEach((d) =>
        pen.rule(pen.x(d), pen.top, pen.x(d), pen.bottom, "grey dotted"));
      cloud.draw((pen) => {
        limits(pen);
        pen.rule(pen.x(within(gene.x)), pen.y(p[g]), pen.x(gene.mean), pen.y(p[g]), "rose thick");
        pen.dot(pen.x(gene.mean), pen.y(p[g]), 7, "rose open");
        pen.text(pen.x(gene.mean), pen.y(p[g]) + 22, names[g], "strong gene halo", "middle");
      });
      cloud.points([
        ...genes.map(({ x }, i) => ({ x: within(x), y: p[i], r: 2, ink: "edge" })),
        ...genes.map(({ mean }, i) => ({ x: mean, y: p[i],
          ...(called.has(i) ? { r: 3.4, ink: "indigo" } : { r: 1.8, ink: "grey" }) })),
      ]);
      const [low, high] = [Math.min(-1, gene.x - 3 * gene.sd), Math.max(1, gene.x + 3 * gene.sd)];
      const grid = Array.from({ length: 301 }, (_, i) => low + ((high - low) * i) / 300);
      const alone = grid.map((x) => normalDensity(x, gene.x, gene.sd));
      const after = grid.map((x) => sum(gene.weights.map((v, k) =>
        (k ? v * normalDensity(x, gene.means[k], gene.sds[k]) : 0))));
      const scaled = (list) => list.map((v) => v / Math.max(...alone, ...after));
      chart.spec.x.domain = [low, high];
      chart.draw((pen) => {
        limits(pen);
        pen.area(grid, scaled(after), "indigo");
        pen.line(grid, scaled(alone), "grey dashed");
        pen.bar(pen.x(0) - 3, pen.x(0) + 3, pen.bottom, pen.y(gene.weights[0]), "rose solid");
      });
      list.value = names[g];
      fact("called", `${called.size} of ${names.length}`);
      fact("expected", called.size ? `${living.fixed(100 * expected, 1)} %` : "–");
      fact("typical", living.fixed([...p].sort((x, y) => x - y)[p.length >> 1], 2));
      fact("p", living.fixed(p[g], 3));
      const [first, second] = [a, b].map((name) => living.fixed(halves(data.means[name])[g], 2));
      about.textContent = `${names[g]}: ${first} and ${second} counts per cell; LFC ` +
        `${living.fixed(gene.x, 1)} ± ${living.fixed(gene.sd, 1)} by itself, ${living.fixed(gene.mean, 1)} after; ` +
        `${called.has(g) ? "" : "not "}called`;
      living.say(stage, `${called.size} genes called. ${about.textContent}`);
    }
    const change = (by) => {
      Object.assign(state, by);
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
