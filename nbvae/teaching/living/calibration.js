/* Chapter 8: one factor on all θ. A gene against its replicates, and φ of (8.2) over all. */
(function (living) {
  "use strict";
  const { halves, integers, random } = living.maths;
  const FIRST = [0, 1, 2, 3, 5, 9, 17, 33, 65, 129, Infinity]; // counts at which bins begin
  const TABLES = 39;

  /* F(x − 1) and F(x) of a negative binomial, term by term. */
  function below(x, mean, theta) {
    let term = Math.exp(-theta * Math.log1p(mean / theta));
    let [before, sum] = [0, term];
    for (let k = 0; k < x; k += 1) {
      term *= ((k + theta) / (k + 1)) * (mean / (mean + theta));
      [before, sum] = [sum, sum + term];
    }
    return [before, sum];
  }

  /* φ for counts, with means of some draws of z: (draws × counts), draw by draw. */
  function transform(counts, means, theta, v) {
    const draws = means.length / counts.length;
    return Array.from(counts, (x, i) => {
      const ends = [0, 0];
      for (let s = 0; s < draws; s += 1) {
        below(x, means[s * counts.length + i], theta[i]).forEach((f, e) => (ends[e] += f / draws));
      }
      return ends[0] + v[i] * (ends[1] - ends[0]);
    });
  }
  living.maths.transform = transform;

  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  const CHECKS = [
    ["zeros", (x) => mean(x.map((c) => Number(c === 0)))],
    ["variance / mean", (x) => mean(x.map((c) => (c - mean(x)) ** 2)) / Math.max(mean(x), 1e-9)],
    ["largest count", (x) => Math.max(...x)],
  ];

  living.register("calibration", (stage, data) => {
    const state = { gene: data.genes[0][0], gamma: 1, seed: 1 };
    const genes = Object.fromEntries(data.genes.map(([name, theta, x, mu]) =>
      [name, { theta, x: Array.from(integers(x)), mu: halves(mu) }]));
    const [counts, means, theta] = [integers(data.x), halves(data.mu), halves(data.theta)];
    const chance = random(1);
    const v = Array.from(counts, chance.uniform);

    const controls = living.add(stage, "div", { class: "lv-row" });
    living.slider(controls, {
      label: "factor γ on all θ", min: 0.25, max: 256, step: 0.02, log: true, value: 1, digits: 2,
      text: (g) => living.plain(g), on: (gamma) => change({ gamma }),
    });
    living.select(controls, {
      label: "Gene:", value: state.gene, options: data.genes.map(([name]) => [name, name]),
      on: (gene) => change({ gene }),
    });
    living.button(controls, "Replicate again", () => change({ seed: state.seed + 1 }));
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const panel = (title) => {
      const column = living.add(panels, "div", { class: "lv-third" });
      const head = living.add(column, "p", { class: "lv-title" }, title);
      return [column, head];
    };
    const [one, title] = panel("");
    const histogram = living.chart(one, {
      label: "Counts of the gene, and of its replicates", height: 220,
      x: { domain: [0, 5], label: "count" }, y: { domain: [0, 1], label: "share of cells" },
    });
    const rows = living.rows(panel("Replicates against the data")[0], {
      label: "Three checks of the gene", names: CHECKS.map(([name]) => name), row: 44, left: 104,
      x: { domain: [-2, 2], ticks: [-2, -1, 0, 1, 2], label: "times the data's",
        text: (t) => living.plain(2 ** t) },
    });
    const pit = living.chart(panel("φ, all counts with μ > 1")[0], {
      label: "Histogram of φ over all counts with μ > 1", height: 220,
      x: { domain: [0, 1], label: "φ" }, y: { domain: [0, 2], label: "density" },
    });
    const fact = living.facts(stage, [
      ...CHECKS.map(([name], i) =>
        [`check${i}`, `${name}${i ? "" : ", %"}: data (all ${TABLES} replicates)`]),
      ["middle", "φ between 0.3 and 0.7; calibrated: 40 %"],
    ]);
    living.add(stage, "p", { class: "lv-hint" },
      "↓ or ↑: the data lie below or above all replicates.");
    const verdict = living.add(stage, "p", { class: "lv-title" });

    function draw() {
      const { x, mu, theta: own } = genes[state.gene];
      const draws = mu.length / x.length;
      const chances = random(1000 * state.seed);
      const tables = Array.from({ length: TABLES }, (_, r) => x.map((_, n) =>
        chances.nb(mu[(r % draws) * x.length + n], own * state.gamma)));
      drawCounts(x, tables);
      rows.draw((pen, places) => CHECKS.forEach(([, check], i) => {
        const [value, all] = [check(x), tables.map(check)];
        const shown = (t) => Math.max(-2, Math.min(2, Math.log2((t + 1e-3) / (value + 1e-3))));
        all.forEach((t, r) =>
          pen.dot(pen.x(shown(t)), places[i].y + 12 * (((r * 7) % 13) / 6 - 1), 2.5, "rose soft"));
        pen.rule(pen.x(0), places[i].top - 4, pen.x(0), places[i].bottom + 4, "ink thick");
        const [low, high] = [Math.min(...all), Math.max(...all)];
        const text = (t) => living.plain(i ? Number(t.toPrecision(3)) : Math.round(100 * t));
        const off = value < low ? " ↓" : value > high ? " ↑" : "";
        fact(`check${i}`, `${text(value)}${off} (${text(low)} to ${text(high)})`);
      }));
      const phi = transform(counts, means, theta.map((t) => t * state.gamma), v);
      const bins = Array(10).fill(0);
      for (const p of phi) bins[Math.min(9, Math.floor(10 * p))] += 10 / phi.length;
      pit.draw((pen) => {
        bins.forEach((h, b) => pen.bar(pen.x(b / 10) + 0.5, pen.x((b + 1) / 10) - 0.5, pen.y(0),
          pen.y(Math.min(2, h)), "sky"));
        pen.line([0, 1], [1, 1], "ink dashed");
      });
      const middle = mean(phi.map((p) => Number(p > 0.3 && p < 0.7)));
      fact("middle", `${living.fixed(100 * middle, 1)} %`);
      const says = middle > 0.42 ? "A hump: the model is too unsure." :
        middle < 0.38 ? "A bowl: the model is too sure." : "Nearly flat.";
      verdict.textContent = says;
      living.say(stage, `γ ${living.plain(state.gamma)}. ${says} ` +
        `${Math.round(100 * middle)} % of φ between 0.3 and 0.7.`);
    }

    function drawCounts(x, tables) {
      title.textContent = `${state.gene}: data, and replicates`;
      const most = Math.max(...x);
      const n = Math.max(4, FIRST.findIndex((first) => first > most));
      const into = (list) => FIRST.slice(0, n).map((first, b) => mean(list.map((c) =>
        Number(c >= first && (c < FIRST[b + 1] || b === n - 1)))));
      const [own, all] = [into(x), tables.map(into)];
      const high = all.reduce((a, b) => Math.max(a, ...b), Math.max(...own));
      histogram.spec.y.domain = [0, high * 1.05];
      histogram.spec.x.domain = [0, n];
      const every = n > 6 ? 2 : 1; // or they would collide
      histogram.spec.x.ticks = own.map((_, b) => b + 0.5).filter((_, b) => b % every === 0);
      histogram.spec.x.text = (t) => `${FIRST[t - 0.5]}${FIRST[t + 0.5] > FIRST[t - 0.5] + 1 ? "+" : ""}`;
      histogram.draw((pen) => own.forEach((share, b) => {
        pen.bar(pen.x(b + 0.1), pen.x(b + 0.9), pen.y(0), pen.y(share), "sky");
        const each = all.map((bins) => bins[b]).sort((a, c) => a - c);
        pen.rule(pen.x(b + 0.5), pen.y(each[0]), pen.x(b + 0.5), pen.y(each[TABLES - 1]), "rose thick");
        pen.dot(pen.x(b + 0.5), pen.y(each[19]), 4, "rose");
      }));
    }
    const change = (by) => {
      Object.assign(state, by);
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
