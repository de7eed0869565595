/* The front page: a map of cells. Touch one, or drag the point: the decoder says what a cell there
   would hold, and draws it. */
(function (living) {
  "use strict";
  const { integers } = living.maths;
  const NEAR = 12; // cells whose states are averaged at a point of the map

  living.register("latent_map", (stage, data) => {
    const cells = living.cells(data);
    const spots = Array.from(integers(data.map), (v) => v / 65535); // x, y, x, y, …
    const at = (n) => [spots[2 * n], spots[2 * n + 1]];
    const common = integers(data.common);
    const state = { place: at(data.cell), library: 650, seed: 1 };

    living.add(stage, "p", { class: "lv-hint" }, "Each dot is a cell, coloured by a label that " +
      "the model never saw. Touch one, or drag the large dot through the map.");
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const left = living.add(panels, "div", { class: "lv-wide" });
    const right = living.add(panels, "div", { class: "lv-narrow" });
    const chart = living.scatter(left, {
      label: "A map of the cells", height: (width) => Math.min(400, 0.85 * width),
      x: { domain: [-0.04, 1.04], hidden: true }, y: { domain: [-0.04, 1.04], hidden: true },
      margin: { left: 4, right: 4, top: 6, bottom: 6 },
    });
    const moveTo = (x, y) => change({ place: [x, y].map((v) => Math.max(0, Math.min(1, v))) });
    const point = chart.handle({
      label: "a point of the map", ink: "ink", value: () => state.place[0],
      text: () => stage.querySelector(".lv-about").textContent, drag: moveTo,
      key: (dx, dy) => moveTo(state.place[0] + 0.02 * dx, state.place[1] + 0.02 * dy),
    });
    living.touched(chart, {
      on: (place) => moveTo(...place),
      over: (place) => about(nearestOf(place)[0][1]),
      leave: () => about(nearestOf(state.place)[0][1]),
    });
    const cell = living.add(left, "p", { class: "lv-about" });
    living.legend(left, cells);

    living.add(right, "p", { class: "lv-title" }, "What a cell at this point would hold");
    const show = living.genes(right, data.genes, {
      draws: 1, label: "counts: bar expected, dot drawn",
    });
    living.slider(right, {
      label: "molecules caught, ℓ", min: 100, max: 3000, step: 0.005, log: true,
      value: state.library, text: (v) => String(Math.round(v)),
      on: (v) => change({ library: Math.round(v) }),
    });
    const row = living.add(right, "div", { class: "lv-row" });
    living.button(row, "Draw a cell", () => change({ seed: state.seed + 1 }));
    const total = living.add(row, "span", { class: "lv-hint" });

    /* The cells nearest to a point of the map: [squared distance, cell], nearest first. */
    function nearestOf([x, y]) {
      const all = cells.z.map((_, n) => [(at(n)[0] - x) ** 2 + (at(n)[1] - y) ** 2, n]);
      return all.sort((a, b) => a[0] - b[0]).slice(0, NEAR);
    }

    /* A map has no way back to z. The mean of the states nearby, nearer ones counting more. */
    function stateAt(place) {
      const near = nearestOf(place);
      const width = near[NEAR - 1][0] / 4 + 1e-9;
      const weights = near.map(([d]) => Math.exp(-d / (2 * width)));
      const sum = weights.reduce((a, b) => a + b);
      return Float64Array.from({ length: cells.k }, (_, i) =>
        near.reduce((mean, [, n], j) => mean + (weights[j] / sum) * cells.z[n][i], 0));
    }

    function about(n) {
      const genes = Array.from(common.slice(5 * n, 5 * n + 5), (g) => data.names[g]);
      cell.replaceChildren(
        living.el("b", {}, cells.kinds[cells.type[n]]), ` · ${cells.library[n]} molecules · most: `,
        living.el("i", {}, genes.join(", ")));
      return cell.textContent;
    }

    function drawMap() {
      chart.draw((pen) => living.names(pen, cells, at));
      chart.points(cells.z.map((_, n) => ({
        x: at(n)[0], y: at(n)[1], r: 3.2, ink: cells.ink(cells.type[n]),
      })));
    }

    function drawState() {
      point(...state.place);
      const shares = cells.decode(stateAt(state.place));
      const counts = show(shares, state.library, cells.theta, state.seed);
      total.textContent = `The drawn cell has ${counts} molecules.`;
      living.say(stage, `Nearest cell: ${about(nearestOf(state.place)[0][1])}. ${total.textContent}`);
    }
    const change = (by) => {
      Object.assign(state, by);
      drawState();
    };
    living.keepDrawn(stage, () => {
      drawMap();
      drawState();
    });
  });
})(window.nbvaeLiving);
