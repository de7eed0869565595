/* Chapter 10: two experiments that share less and less, seen by a model that is told and one that is
   not, epoch by epoch. */
(function (living) {
  "use strict";
  const { integers } = living.maths;
  const NEAR = 15;

  /* The numbers of each point's nearest others. */
  living.nearestOf = (spots, k = NEAR) => spots.map(([x, y], n) => {
    const far = spots.map(([a, b], m) => [m === n ? Infinity : (a - x) ** 2 + (b - y) ** 2, m]);
    return far.sort((a, b) => a[0] - b[0]).slice(0, k).map(([, m]) => m);
  });

  /* The share of neighbours with a cell's own label: a mean over cells, or over both labels' means. */
  const own = (near, labels) => near.map((list, n) =>
    list.filter((m) => labels[m] === labels[n]).length / list.length);
  const mean = (list) => list.reduce((a, b) => a + b, 0) / Math.max(list.length, 1);
  const alike = (near, labels) => mean(own(near, labels));
  const balanced = (near, labels) =>
    mean([0, 1].map((k) => mean(own(near, labels).filter((_, n) => labels[n] === k))));

  /* alike(), on average, if the labels were dealt anew within each kind: only pairs count. */
  function byChance(near, labels, kinds) {
    const of = [0, 1].map((k) => [0, 1].map((j) =>
      labels.filter((label, n) => label === j && kinds[n] === k).length));
    const [n0, n1] = of.map(([a, b]) => a + b);
    const within = of.map(([a, b]) => (a * (a - 1) + b * (b - 1)) / ((a + b) * (a + b - 1)));
    const across = (of[0][0] * of[1][0] + of[0][1] * of[1][1]) / (n0 * n1);
    return mean(near.map((list, n) =>
      mean(list.map((m) => (kinds[m] === kinds[n] ? within[kinds[n]] : across)))));
  }

  living.register("two_experiments", (stage, data) => {
    const kinds = Array.from(data.lineage, Number);
    const { shares, epochs, models, lineages } = data;
    const state = { share: shares.length - 1, epoch: epochs.length - 1, colour: "lineage" };
    const batches = data.batch.map((text) => Array.from(text, Number));
    const maps = data.maps.map((of) => of.map((texts) => texts.map((text) => {
      const flat = integers(text);
      return kinds.map((_, n) => [flat[2 * n] / 65535, flat[2 * n + 1] / 65535]);
    })));
    const row = living.add(stage, "div", { class: "lv-row" });
    const step = (label, list, key, text) => living.slider(row, {
      label, min: 0, max: list.length - 1, step: 1, value: state[key], text: (i) => text(list[i]),
      on: (i) => change({ [key]: i }),
    });
    step(`share of the ${lineages[1]} that are in experiment A`, shares, "share", (v) => `${Math.round(100 * v)} %`);
    step("epochs of training", epochs, "epoch", String);
    living.choice(stage, { label: "colour:", value: "lineage", on: (colour) => change({ colour }),
      options: [["lineage", "what they are"], ["batch", "which experiment"]] });
    const cells = living.add(stage, "p", { class: "lv-about" });
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const charts = models.map((name) => {
      const column = living.add(panels, "div", { class: "lv-half" });
      living.add(column, "p", { class: "lv-title" }, name);
      const chart = living.scatter(column, { label: `A map of the cells, ${name}`, height: (w) => Math.min(w, 330),
        x: { domain: [-0.04, 1.04], hidden: true }, y: { domain: [-0.04, 1.04], hidden: true },
        margin: { left: 4, right: 4, top: 4, bottom: 4 } });
      return { chart, fact: living.facts(column, [["own", "neighbours of the own experiment"],
        ["chance", "that many by chance"],
        ["kind", `of the own kind, ${lineages[0]} or ${lineages[1]}`]]) };
    });
    const key = living.add(stage, "p", { class: "lv-hint" });

    function draw() {
      const batch = batches[state.share];
      const count = (j, k) => batch.filter((b, n) => b === j && kinds[n] === k).length;
      cells.textContent = ["A", "B"].map((name, j) => `Experiment ${name}: ` +
        lineages.map((kind, k) => `${count(j, k)} ${kind}`).join(", ")).join(". ") + ".";
      const [ink, ring] = state.colour === "batch" ? [batch, kinds] : [kinds, batch];
      const names = state.colour === "batch" ? [["A", "B"], lineages] : [lineages, ["A", "B"]];
      const swatch = (of) => living.el("span", { class: `lv-swatch lv-round lv-${of}` });
      key.replaceChildren(swatch("indigo"), `${names[0][0]}, `, swatch("rose"), `${names[0][1]}; ` +
        `dots: ${names[1][0]}, rings: ${names[1][1]}`);
      const said = models.map((name, i) => {
        const spots = maps[state.share][i][state.epoch];
        const near = living.nearestOf(spots);
        const { chart, fact } = charts[i];
        chart.draw(() => {});
        chart.points(spots.map(([x, y], n) =>
          ({ x, y, r: 3.2, ink: ["indigo", "rose"][ink[n]], open: ring[n] === 1 })));
        const [mixed, chance, kept] = [alike(near, batch), byChance(near, batch, kinds),
          balanced(near, kinds)].map((v) => `${living.fixed(100 * v, 1)} %`);
        fact("own", mixed);
        fact("chance", chance);
        fact("kind", kept);
        return `${name}: ${mixed} own experiment (by chance ${chance}), ${kept} own kind`;
      });
      living.say(stage, `${said.join("; ")}.`);
    }
    const change = (by) => {
      Object.assign(state, by);
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
