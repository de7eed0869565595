/* The front page: a map of cells. Touch one, or drag the point: the decoder says what a cell there
   would hold, and draws it. */
(function (living) {
  "use strict";
  const { integers } = living.maths;
  const NEAR = 12; // cells whose states are averaged at a point of the map
  const REACH = 5; // times the usual distance between neighbours: farther off, no cell is near
  const [FEWEST, MOST] = [100, 2000]; // molecules

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
      over: about, leave: () => about(state.place),
    });
    const cell = living.add(left, "p", { class: "lv-about" });
    living.legend(left, cells);

    const title = living.add(right, "p", { class: "lv-title" });
    const show = living.genes(right, data.genes, {
      draws: 1, label: "counts (root scale)", top: living.room(cells, data.genes, MOST),
    });
    living.add(right, "p", { class: "lv-hint" }, "Bar: expected. Dot: drawn.");
    living.slider(right, {
      label: "molecules caught, ℓ", min: FEWEST, max: MOST, step: 0.005, log: true,
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

    /* The squared distance to the nearest other cell. In plain steps: with thousands of cells there
       are millions of pairs. */
    function neighbour(n) {
      let least = Infinity;
      for (let m = 0; m < spots.length; m += 2) {
        const d = (spots[2 * n] - spots[m]) ** 2 + (spots[2 * n + 1] - spots[m + 1]) ** 2;
        if (m !== 2 * n && d < least) least = d;
      }
      return least;
    }

    const usual = cells.z.map((_, n) => neighbour(n)).sort((a, b) => a - b);
    const reach = REACH ** 2 * usual[usual.length >> 1];
    const empty = (place) => nearestOf(place)[0][0] > reach;

    /* Say which cell is at a place, or whose mean is decoded where none is. */
    function about(place) {
      if (empty(place)) aboutMean(nearestOf(place));
      else aboutCell(nearestOf(place)[0][1]);
      return cell.textContent;
    }

    function aboutMean(near) {
      const kinds = near.map(([, n]) => cells.type[n]);
      const count = (kind) => kinds.filter((k) => k === kind).length;
      const named = [...new Set(kinds)].sort((a, b) => count(b) - count(a))
        .map((kind) => `${count(kind)} ${cells.kinds[kind]}`);
      cell.replaceChildren(living.el("b", {}, "No cell is here"),
        ` · what you see is the mean of ${NEAR} cells far off: ${named.join(", ")}`);
    }

    function aboutCell(n) {
      const genes = Array.from(common.slice(5 * n, 5 * n + 5), (g) => data.names[g]);
      cell.replaceChildren(
        living.el("b", {}, cells.kinds[cells.type[n]]), ` · ${cells.library[n]} molecules · most: `,
        living.el("i", {}, genes.join(", ")));
    }

    function drawMap() {
      chart.draw((pen) => living.names(pen, cells, at, state.place));
      chart.points(cells.z.map((_, n) => ({
        x: at(n)[0], y: at(n)[1], r: 3.2, ink: cells.ink(cells.type[n]),
      })));
    }

    function drawState() {
      point(...state.place);
      title.textContent = empty(state.place) ? "What the decoder says where no cell is"
        : "What a cell at this point would hold";
      const shares = cells.decode(stateAt(state.place));
      const counts = show(shares, state.library, cells.theta, state.seed);
      total.textContent = `The drawn cell has ${counts} molecules.`;
      living.say(stage, `${about(state.place)}. ${total.textContent}`);
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
