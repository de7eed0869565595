/* What the figures share that decode a state: genes as rows, with what is expected and drawn. */
(function (living) {
  "use strict";
  const { decoder, halves, integers, nbLogProb, random } = living.maths;
  const TICKS = [0, 1, 5, 20, 50, 100, 200, 500];

  /* What Python embedded of labelled cells, unpacked. */
  living.labelled = (data) => ({
    n: data.types.length, library: integers(data.library), kinds: data.kinds,
    type: Array.from(data.types, (c) => c.charCodeAt(0) - 97), // a letter for each kind
    ink: (i) => `k${i % 10}`,
  });

  /* The same with a model. z: (n) arrays of k numbers. */
  living.cells = (data) => {
    const cells = living.labelled(data);
    const flat = halves(data.z);
    const k = flat.length / cells.n;
    return {
      ...cells, k, decode: decoder(data.decoder),
      theta: halves(data.decoder.logTheta).map(Math.exp),
      z: Array.from({ length: cells.n }, (_, i) => flat.slice(i * k, (i + 1) * k)),
    };
  };

  /* The numbers of a kind's cells. */
  living.ofKind = (cells, kind) => cells.type.map((t, n) => n).filter((n) => cells.type[n] === kind);

  /* Write each kind's name where its cells are; at(n) is the place of a cell. A name that would
     run over the place `free` stands above it. */
  living.names = (pen, cells, at, free) => {
    const kinds = cells.kinds.map((name, kind) => ({ name, cells: living.ofKind(cells, kind) }))
      .filter((kind) => kind.cells.length)
      .sort((a, b) => b.cells.length - a.cells.length);
    const taken = []; // the legend has the names that find no room
    for (const { name, cells: inside } of kinds) {
      const middle = (i) => inside.map((n) => at(n)[i]).sort((a, b) => a - b)[inside.length >> 1];
      const [x, half] = [pen.x(middle(0)), 4 * name.length];
      const own = pen.y(middle(1));
      const [dx, dy] = [x - pen.x(free[0]), own - pen.y(free[1])];
      const y = Math.abs(dx) < half + 10 && Math.abs(dy) < 16 ? own - dy - 18 : own;
      const clear = taken.every((t) => Math.abs(t.y - y) > 18 || Math.abs(t.x - x) > t.half + half);
      if (!clear || x - half < pen.left || x + half > pen.right) continue;
      taken.push({ x, y, half });
      pen.text(x, y, name, "strong halo", "middle");
    }
  };

  /* Let a chart be touched: over(place) under a mouse, leave() after it, on(place) by a click. */
  living.touched = (chart, { over, leave, on }) => {
    const where = (event) => {
      const box = chart.root.getBoundingClientRect();
      return [chart.pen.x.back(event.clientX - box.left), chart.pen.y.back(event.clientY - box.top)];
    };
    chart.root.addEventListener("click", (event) => on(where(event)));
    chart.root.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse" && !event.buttons) over(where(event));
    });
    chart.root.addEventListener("pointerleave", leave);
  };

  /* The first count at which the probability of that or fewer reaches a level. */
  function quantile(mean, theta, level) {
    let [count, sum] = [0, 0];
    for (; count < 10000; count += 1) {
      sum += Math.exp(nbLogProb(count, Math.log(mean), Math.log(theta)));
      if (sum >= level) break;
    }
    return count;
  }
  living.maths.nbQuantile = quantile;

  /* Where an axis may end: a fifth above what any cell's state makes of these genes. Of more than
     a thousand cells, which would take a second to decode, every second or third is asked. */
  living.room = (cells, genes, library) => {
    const step = Math.ceil(cells.z.length / 1000);
    const asked = cells.z.filter((_, n) => n % step === 0);
    return 1.2 * library * Math.max(...asked.map((z) => {
      const shares = cells.decode(z);
      return Math.max(...genes.map(([, g]) => shares[g]));
    }));
  };

  /* Genes as rows: what is expected of a state as bars, drawn cells as dots, and the counts of a
     real cell, if any, as crosses. options: label, draws (how many cells), own (real counts),
     middle (whether bars show the middle nine tenths instead of the mean), top (the end of the
     axis, which stays where it is). The result, show(shares, library, theta, seed), returns the
     total of a drawn cell, over all genes. */
  living.genes = (parent, genes, options) => {
    const { top } = options;
    const chart = living.rows(parent, {
      label: "Counts of marker genes", names: genes.map(([name]) => name), row: 25,
      x: { domain: [0, top], root: true, label: options.label,
        ticks: TICKS.filter((v) => v <= top) },
    });
    return (shares, library, theta, seed) => {
      const cells = Array.from({ length: options.draws }, (_, i) => {
        const chance = random(1000 * seed + i);
        return Array.from(shares, (share, g) => chance.nb(library * share, theta[g]));
      });
      const bars = genes.map(([, g]) => {
        const mean = library * shares[g];
        return options.middle ? [0.05, 0.95].map((p) => quantile(mean, theta[g], p)) : [0, mean];
      });
      chart.draw((pen, rows) => genes.forEach(([, g], i) => {
        const { y, top: a, bottom: b } = rows[i];
        const x = (count) => pen.x(Math.min(count, top));
        pen.bar(x(bars[i][0]), x(bars[i][1]), a, b, "sky");
        cells.forEach((counts, k) =>
          pen.dot(x(counts[g]), y + 5 * (k - (cells.length - 1) / 2), 4, "rose"));
        if (options.own) pen.text(x(options.own[i]), y + 6, "×", "cross halo", "middle");
      }));
      return cells[0].reduce((a, b) => a + b);
    };
  };

  /* The kind that most of the 15 nearest cells have, and how many of them. */
  living.nearest = (cells, z) => {
    const distance = (a) => a.reduce((sum, v, i) => sum + (v - z[i]) ** 2, 0);
    const order = cells.z.map((a, n) => [distance(a), n]).sort((a, b) => a[0] - b[0]);
    const votes = {};
    for (const [, n] of order.slice(0, 15)) votes[cells.type[n]] = (votes[cells.type[n]] || 0) + 1;
    const [kind, of] = Object.entries(votes).sort((a, b) => b[1] - a[1])[0];
    return { kind: Number(kind), of, cell: order[0][1] };
  };

  /* Names of the kinds as a list of coloured dots. */
  living.legend = (parent, cells) => {
    const list = living.add(parent, "ul", { class: "lv-legend" });
    cells.kinds.forEach((name, i) => living.add(list, "li", {},
      living.el("span", { class: "lv-swatch lv-round", style: `--ink: var(--lv-${cells.ink(i)})` }),
      name));
    return list;
  };
})(window.nbvaeLiving);
