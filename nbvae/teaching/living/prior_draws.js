/* Chapter 14: cells drawn from priors of more and more components, on a plane of two markers. */
(function (living) {
  "use strict";
  const { integers } = living.maths;
  const MANY = 2; // counts of both genes make a chimera

  living.register("prior_draws", (stage, data) => {
    const read = (part) => ({ means: integers(part.means), counts: integers(part.counts) });
    const cells = read(data.cells);
    const priors = data.priors.map((prior) => ({ ...prior, ...read(prior) }));
    const n = data.genes.length;
    const state = { prior: 0, other: 1 };
    const last = priors.length - 1;

    const controls = living.add(stage, "div", { class: "lv-row" });
    living.slider(controls, {
      label: "prior", min: 0, max: last, step: 1, value: 0, text: (i) => priors[i].name,
      on: (prior) => change({ prior }),
    });
    living.select(controls, {
      label: `${data.genes[0]} against`, value: "1",
      options: data.genes.slice(1).map((gene, i) => [String(i + 1), gene]),
      on: (other) => change({ other: Number(other) }),
    });
    const fact = living.facts(stage, [
      ["chimeras", "chimeras among these draws", "rose"],
      ["range", "their share, 95 % interval"],
      ["cells", "among the real cells", "grey"],
      ["test", "bound, test cells (nats)"], ["train", "bound, training cells (nats)"],
    ]);
    const scale = { log: true, domain: [10 ** -data.decades, 300] };
    const chart = living.scatter(stage, {
      label: "Expected counts of two markers in drawn cells and in real ones",
      height: (width) => Math.min(420, width), margin: { left: 52 },
      x: { ...scale, label: `expected ${data.genes[0]}, of B cells` },
      y: { ...scale, label: "expected counts of the other gene" },
    });
    living.add(stage, "p", { class: "lv-hint" }, "Grey: real cells, as the model sees them. " +
      "Small: drawn from the prior. Large: drawn, with two counts or more of both genes.");

    /* whole(1000 · (log10 mean + decades)) was embedded */
    const mean = (part, i, gene) => 10 ** (part.means[i * n + gene] / 1000 - data.decades);
    const both = (part, i) =>
      part.counts[i * n] >= MANY && part.counts[i * n + state.other] >= MANY;
    const rows = (part) => Array.from({ length: part.counts.length / n }, (_, i) => i);
    const share = (part) => {
      const all = rows(part);
      return (100 * all.filter((i) => both(part, i)).length) / all.length;
    };
    /* Wilson's interval for a share of n cells, in per cent. */
    const range = (percent, n) => {
      const [p, z2] = [percent / 100, 1.96 ** 2 / n];
      const half = Math.sqrt(z2 * (p * (1 - p) + z2 / 4));
      return [-half, half].map((by) => (100 * (p + z2 / 2 + by)) / (1 + z2));
    };

    function draw() {
      const prior = priors[state.prior];
      const dots = (part, ink, large) => rows(part).map((i) => {
        const odd = large && both(part, i);
        return { x: mean(part, i, 0), y: mean(part, i, state.other),
          ink: odd ? "rose" : ink, r: odd ? 5 : 2 };
      });
      chart.draw(() => {});
      chart.points([...dots(cells, "grey"), ...dots(prior, "indigo", true)]);
      const shown = living.fixed(share(prior), 1);
      fact("chimeras", `${shown} %`);
      const [low, high] = range(share(prior), rows(prior).length);
      fact("range", `${living.fixed(low, 1)} to ${living.fixed(high, 1)} %`);
      fact("cells", `${living.fixed(share(cells), 1)} %`);
      fact("test", living.fixed(prior.test, 1));
      fact("train", living.fixed(prior.train, 1));
      living.say(stage, `${prior.name}, against ${data.genes[state.other]}: ` +
        `${shown} % of the draws are chimeras.`);
    }
    const change = (by) => {
      Object.assign(state, by);
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
