/* Chapter 7: one latent space, drawn again and again. Lines lead from a cell to its nearest
   neighbours in z, wherever a map has put them. */
(function (living) {
  "use strict";
  const { halves, integers } = living.maths;

  living.register("many_maps", (stage, data) => {
    const cells = living.labelled(data);
    const all = cells.type.map((_, i) => i);
    const near = integers(data.near); // row by row, nearest first
    const k = near.length / cells.n;
    const state = { number: data.start, seed: 0, cell: data.cell, by: "kind" };
    const width = Array.from(halves(data.width));
    const counts = Object.fromEntries(data.genes.map(([gene, text]) => [gene, integers(text)]));
    const values = { // by what cells are coloured
      library: Array.from(cells.library, Math.log), sd: width,
      ...Object.fromEntries(Object.entries(counts).map(([gene, list]) =>
        [gene, all.map((i) => Math.log1p((1000 * list[i]) / cells.library[i]))])),
    };
    const words = (v) => // of the legend, for a value by which cells are coloured
      state.by === "library" ? `${Math.round(Math.exp(v))} molecules`
        : state.by === "sd" ? `mean sd ${living.fixed(v, 2)}`
          : `${living.fixed(Math.expm1(v), 1)} in 1,000 molecules`;
    const read = ([text, kept, related]) => {
      const flat = integers(text);
      return { at: (i) => [flat[2 * i] / 65535, flat[2 * i + 1] / 65535], kept, related };
    };
    const maps = data.maps.map((seeds) => seeds.map(read));
    const plane = read(data.plane);
    const map = () => maps[state.number][state.seed];

    /* Which of a cell's nearest in z are among its nearest on a map. */
    function found({ at }, i) {
      const far = all.map((j) => (at(j)[0] - at(i)[0]) ** 2 + (at(j)[1] - at(i)[1]) ** 2);
      const last = [...far].sort((a, b) => a - b)[k]; // the first is the cell itself
      return Array.from(near.subarray(k * i, k * (i + 1)), (j) => [j, far[j] <= last]);
    }

    living.add(stage, "p", { class: "lv-hint" }, "Touch a cell. Lines lead to its " +
      `${k} nearest neighbours in z; dashed, with a ring: not among its ${k} nearest here.`);
    const sliders = living.add(stage, "div", { class: "lv-row" });
    living.slider(sliders, {
      label: "seed of the map", min: 0, max: maps[0].length - 1, step: 1, value: 0, text: String,
      on: (seed) => change({ seed }),
    });
    living.slider(sliders, {
      label: "neighbours that UMAP looks at", min: 0, max: maps.length - 1, step: 1,
      value: state.number, text: (v) => String(data.numbers[v]), on: (number) => change({ number }),
    });
    const titles = { kind: "type", sd: "uncertainty (mean sd)" };
    living.select(stage, {
      label: "Colour:", value: "kind", on: (by) => change({ by }),
      options: ["kind", ...Object.keys(values)].map((key) => [key, titles[key] || key]),
    });
    const panels = living.add(stage, "div", { class: "lv-panels" });
    const drawn = data.titles.map((title, right) => panel(title, right ? () => plane : map));

    function panel(title, shown) {
      const at = (i) => shown().at(i);
      const column = living.add(panels, "div", { class: "lv-half" });
      living.add(column, "p", { class: "lv-title" }, title);
      const axis = { domain: [-0.04, 1.04], hidden: true };
      const chart = living.scatter(column, {
        label: title, height: (w) => w, x: axis, y: axis,
        margin: { left: 4, right: 4, top: 4, bottom: 4 },
      });
      const far = (i, [x, y]) => (at(i)[0] - x) ** 2 + (at(i)[1] - y) ** 2;
      const nearest = (place, among = all) =>
        among.reduce((best, i) => (far(i, place) < far(best, place) ? i : best));
      const choose = (place) => change({ cell: nearest(place) });
      const point = chart.handle({
        label: `a cell: ${title}`, ink: "ink", value: () => state.cell, text: () => about(state.cell),
        drag: (x, y) => choose([x, y]),
        key(dx, dy) { // to the nearest cell within a right angle around the direction
          const [x, y] = at(state.cell);
          const ahead = all.filter((i) => {
            const [a, b] = [at(i)[0] - x, at(i)[1] - y];
            return dx ? a * dx > 0 && Math.abs(b) <= Math.abs(a) : b * dy > 0 && Math.abs(a) <= Math.abs(b);
          });
          if (ahead.length) change({ cell: nearest([x, y], ahead) });
        },
      });
      living.touched(chart, {
        on: choose, over: (place) => about(nearest(place)), leave: () => about(state.cell),
      });
      return (order, ink) => {
        const spot = (i) => [chart.pen.x(at(i)[0]), chart.pen.y(at(i)[1])];
        chart.draw((pen) => {
          chart.pen = pen;
          for (const [j, there] of found(shown(), state.cell)) {
            pen.rule(...spot(state.cell), ...spot(j), there ? "ink thin" : "rose dashed");
            pen.dot(...spot(j), 3.5, there ? "ink" : "rose open");
          }
        });
        chart.points(order.map((i) => ({ x: at(i)[0], y: at(i)[1], r: 2.8, ink: ink(i) })));
        point(...at(state.cell));
      };
    }

    const cell = living.add(stage, "p", { class: "lv-about" });
    function about(i) {
      const gene = counts[state.by] ? [`${state.by} ${counts[state.by][i]}`] : [];
      cell.textContent = [cells.kinds[cells.type[i]], `${cells.library[i]} molecules`,
        `mean sd ${living.fixed(width[i], 2)}`, ...gene].join(" · ");
      return cell.textContent;
    }
    const fact = living.facts(stage, [
      ["here", `of its ${k} nearest in z, near on the map, too`], ["all", "the same for all cells"],
      ["plane", "for all cells, on the right"],
      ["related", "distances between types, map against z: correlation"],
    ]);
    let legend = living.legend(stage, cells);

    function draw() {
      const list = values[state.by];
      const order = list ? [...all].sort((a, b) => list[a] - list[b]) : all;
      const [low, high] = [0.01, 0.99].map((p) => list && list[order[Math.floor(p * order.length)]]);
      const ramp = { kinds: list && [`≤ ${words(low)}`, "", "", "", "", `≥ ${words(high)}`],
        ink: (i) => `r${i}` };
      const level = (v) => Math.max(0, Math.min(5, Math.floor((6 * (v - low)) / (high - low))));
      for (const one of drawn) {
        one(order, (i) => (list ? ramp.ink(level(list[i])) : cells.ink(cells.type[i])));
      }
      legend.remove();
      legend = living.legend(stage, list ? ramp : cells);
      const here = found(map(), state.cell).filter(([, there]) => there).length;
      const per = (share) => `${Math.round(100 * share)} %`;
      fact("here", `${here} of ${k}`);
      fact("all", per(map().kept));
      fact("plane", per(plane.kept));
      fact("related", living.fixed(map().related, 2));
      living.say(stage, `${about(state.cell)}. ${here} of its ${k} neighbours kept, ` +
        `${per(map().kept)} over all cells. Distances between types: ` +
        `correlation ${living.fixed(map().related, 2)}.`);
    }
    const change = (by) => {
      Object.assign(state, by);
      draw();
    };
    living.keepDrawn(stage, draw);
  });
})(window.nbvaeLiving);
