/* Chapter 12: how many genes, chosen by what. A marker's rank says when it gets in. */
(function (living) {
  "use strict";
  const { floats } = living.maths;

  living.register("gene_choice", (stage, data) => {
    const [mean, variance] = [data.mean, data.ways[0][1]].map(floats); // the first way is drawn
    const G = mean.length;
    const all = Array.from(mean, (_, g) => g);
    const ways = data.ways.map(([name, text]) => {
      const score = floats(text);
      const order = [...all].sort((a, b) => score[b] - score[a] || a - b);
      const rank = [];
      order.forEach((g, i) => (rank[g] = i + 1));
      return { name, order, rank };
    });
    const state = { n: data.start, way: 0 };

    const controls = living.add(stage, "div", { class: "lv-row" });
    living.slider(controls, {
      label: "genes to keep", min: 10, max: G, step: 0.005, log: true, value: state.n,
      text: (v) => String(Math.round(v)), on: (v) => change({ n: Math.round(v) }),
    });
    living.choice(controls, {
      label: "Ranked by", value: 0, options: ways.map(({ name }, i) => [i, name]),
      on: (way) => change({ way }),
    });
    const agreement = data.agreement || {};
    const grid = Object.keys(agreement).map(Number);
    const fact = living.facts(stage, [
      ["counts", "of all counts, in the chosen"], ["shared", "also among the first by (12.1)"],
    ]);
    const merits = living.facts(stage, ways.map(({ name }, way) =>
      [`way${way}`, `by ${name}: markers kept${grid.length ? "; neighbours right" : ""}`]));
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const left = living.add(panels, "div", { class: "lv-wide" });
    const right = living.add(panels, "div", { class: "lv-narrow" });
    const span = (values) => {
      const some = values.filter((v) => v > 0);
      return [Math.min(...some) / 1.3, Math.max(...some) * 1.3];
    };
    const chart = living.scatter(left, {
      label: "Genes, one dot each, and which are chosen", height: 330,
      x: { domain: span(mean), log: true, label: "mean count" },
      y: { domain: span(variance), log: true, label: "variance of the residuals",
        ticks: [1, 2, 5, 10, 20].filter((v) => v < Math.max(...variance)) },
    });
    const about = living.add(left, "p", { class: "lv-about" });
    const HINT = "Point at a dot, or touch it, for the gene's name.";
    const name = (event) => {
      const box = chart.root.getBoundingClientRect();
      const far = (g) => Math.hypot(chart.pen.x(mean[g]) - event.clientX + box.left,
        chart.pen.y(variance[g]) - event.clientY + box.top);
      const near = all.reduce((best, g) => (far(g) < far(best) ? g : best));
      about.textContent = far(near) > 14 ? HINT :
        `${data.names[near]}: mean ${mean[near].toPrecision(2)}, rank ${ways[state.way].rank[near]}`;
    };
    for (const kind of ["pointermove", "pointerdown"]) chart.root.addEventListener(kind, name);
    living.add(right, "p", { class: "lv-title" }, "Rank of some markers");
    const rows = living.rows(right, {
      label: "Rank of some markers", names: data.markers.map((g) => data.names[g]), row: 22,
      x: { domain: [1, 1.2 * G], log: true, label: "rank; left of the line: kept",
        ticks: [1, 10, 100, 1000, 10000].filter((n) => n <= G) },
    });

    function draw() {
      const { order, rank } = ways[state.way];
      chart.draw((pen) => pen.rule(pen.left, pen.y(1), pen.right, pen.y(1), "ink dashed thin"));
      chart.points([...order].reverse().map((g) => ({
        x: mean[g], y: variance[g], r: rank[g] > state.n ? 2 : 3,
        ink: rank[g] > state.n ? "grey" : "indigo",
      })));
      rows.draw((pen, places) => {
        pen.rule(pen.x(state.n + 0.5), pen.top, pen.x(state.n + 0.5), pen.bottom, "green thick");
        data.markers.forEach((g, i) => {
          const kept = rank[g] <= state.n;
          pen.dot(pen.x(rank[g]), places[i].y, 4.5, kept ? "indigo" : "grey open");
        });
      });
      const sum = (genes) => genes.reduce((total, g) => total + mean[g], 0);
      const chosen = order.slice(0, state.n);
      const shared = chosen.filter((g) => ways[0].rank[g] <= state.n).length;
      fact("counts", `${living.fixed((100 * sum(chosen)) / sum(all), 0)} %`);
      fact("shared", `${shared} of ${state.n}`);
      const markersBy = (way) => data.markers.filter((g) => ways[way].rank[g] <= state.n).length;
      const far = (n) => Math.abs(Math.log(n / state.n));
      const near = grid.length && grid.reduce((a, b) => (far(b) < far(a) ? b : a));
      ways.forEach((_, way) => merits(`way${way}`, `${markersBy(way)} of ${data.markers.length}` +
        (near ? `; ${living.fixed(100 * agreement[near][way], 0)} %` +
          (near === state.n ? "" : ` (with ${near} genes)`) : "")));
      about.textContent = HINT;
      const kept = markersBy(state.way);
      living.say(stage, `${state.n} genes; ${kept} of ${data.markers.length} markers are kept.`);
    }
    const change = (by) => {
      Object.assign(state, by);
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
