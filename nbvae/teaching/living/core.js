/* Figures that a reader can move: what all of them share. A classic script without other people's
   code, so that a page works from a file, too. Each figure has a file of its own, which calls
   nbvaeLiving.register(name, build); build(stage, data) fills an empty element. */
(function () {
  "use strict";
  if (window.nbvaeLiving) return;

  const figures = {};
  const living = (window.nbvaeLiving = {});
  const SVG = "http://www.w3.org/2000/svg";

  /* ---- A figure wakes up ---------------------------------------------------------------- */

  living.register = (name, build) => {
    figures[name] = build;
    living.start();
  };

  living.start = () => {
    for (const box of document.querySelectorAll(".nbvae-living:not([data-on])")) {
      if (figures[box.dataset.figure]) wake(box, figures[box.dataset.figure]);
    }
  };

  function wake(box, build) {
    box.dataset.on = "";
    const stage = living.el("div", { class: "lv-stage" });
    box.append(stage);
    stage.said = living.el("p", { class: "lv-said", "aria-live": "polite" });
    try {
      build(stage, { ...values(box, "values"), ...values(box, "trained") });
    } catch (error) {
      stage.remove(); // the picture stays
      throw error;
    }
    stage.append(stage.said);
    hideStill(box);
  }

  const values = (box, name) => JSON.parse(box.dataset[name] || "{}");

  /* The picture with the same message is for print, and for where there are no scripts. */
  function hideStill(box) {
    const figure = document.getElementById(box.dataset.still || "");
    if (figure) figure.prepend(box); // above the caption
    const near = figure || [".cell_output", ".jp-OutputArea", "#output-area", ".output"]
      .map((place) => box.closest(place)).find(Boolean); // the site, JupyterLab, Colab, others
    if (!near) return;
    for (const image of near.querySelectorAll("img")) {
      if (!box.contains(image)) image.classList.add("lv-still");
    }
  }

  /* ---- Elements -------------------------------------------------------------------------- */

  living.el = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  living.add = (parent, tag, attributes, ...children) => {
    const node = living.el(tag, attributes, ...children);
    parent.append(node);
    return node;
  };

  const svg = (tag, attributes) => {
    const node = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };

  /* Read the values out, once the reader's hand rests. */
  living.say = (stage, text) => {
    clearTimeout(stage.waiting);
    stage.waiting = setTimeout(() => (stage.said.textContent = text), 400);
  };

  /* Draw now, and again whenever the width changes. */
  living.keepDrawn = (stage, draw) => {
    let width = 0;
    new ResizeObserver(() => {
      if (stage.clientWidth === width || !stage.clientWidth) return;
      width = stage.clientWidth;
      draw();
    }).observe(stage);
    draw();
  };

  living.calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  /* ---- Controls: native ones, with names ------------------------------------------------- */

  /* options: label, min, max, step, value, log (values between min and max are then spaced by
     ratio, and rounded to `digits`), text(value), on(value). The result has .value and .set(value). */
  living.slider = (parent, options) => {
    const { log, text = (v) => living.fixed(v, 2) } = options;
    const there = log ? Math.log10 : (v) => v;
    const back = log ? (v) => Number((10 ** v).toPrecision(options.digits || 3)) : (v) => v;
    const name = living.el("span", { class: "lv-name" });
    name.innerHTML = options.label;
    const shown = living.el("span", { class: "lv-value" });
    const input = living.el("input", {
      type: "range", min: there(options.min), max: there(options.max), step: options.step,
      "aria-label": name.textContent,
    });
    living.add(parent, "label", { class: "lv-slider" }, name, input, shown);
    const slider = {
      input,
      set(value) {
        slider.value = Math.min(options.max, Math.max(options.min, value));
        input.value = there(slider.value);
        show();
      },
    };
    const show = () => {
      shown.textContent = text(slider.value);
      input.setAttribute("aria-valuetext", shown.textContent);
      const [low, high] = [Number(input.min), Number(input.max)];
      input.style.setProperty("--done", `${(100 * (input.value - low)) / (high - low)}%`);
    };
    input.addEventListener("input", () => {
      slider.value = back(Number(input.value));
      show();
      options.on(slider.value);
    });
    slider.set(options.value);
    return slider;
  };

  let groups = 0;
  /* options: label, options ([value, label] each), value, on(value). */
  living.choice = (parent, options) => {
    const set = living.add(parent, "fieldset", { class: "lv-choice" });
    living.add(set, "legend", {}, options.label);
    const group = `lv-${(groups += 1)}`;
    for (const [value, label] of options.options) {
      const input = living.el("input", { type: "radio", name: group, value });
      input.checked = value === options.value;
      if (label.length < 3) input.setAttribute("aria-label", `${options.label} ${label}`);
      input.addEventListener("change", () => options.on(value));
      living.add(set, "label", {}, input, living.el("span", {}, label));
    }
    return set;
  };

  living.select = (parent, options) => {
    const select = living.el("select", { "aria-label": options.label });
    for (const [value, label] of options.options) {
      living.add(select, "option", { value }, label);
    }
    select.value = options.value;
    select.addEventListener("change", () => options.on(select.value));
    living.add(parent, "label", { class: "lv-select" }, `${options.label} `, select);
    return select;
  };

  living.button = (parent, label, on) => {
    const button = living.add(parent, "button", { type: "button", class: "lv-button" }, label);
    button.addEventListener("click", on);
    return button;
  };

  /* A row of named numbers; a colour's name before the label shows it as a swatch, too. */
  living.facts = (parent, names) => {
    const list = living.add(parent, "dl", { class: "lv-facts" });
    const places = {};
    for (const [key, label, ink] of names) {
      const term = living.el("dt", {});
      if (ink) living.add(term, "span", { class: `lv-swatch lv-${ink.replaceAll(" ", " lv-")}` });
      term.insertAdjacentHTML("beforeend", label);
      places[key] = living.el("dd", { "data-fact": key });
      living.add(list, "div", {}, term, places[key]);
    }
    return (key, text) => (places[key].textContent = text);
  };

  /* ---- Charts ------------------------------------------------------------------------------ */

  const scale = (domain, range, { log, root }) => {
    const f = log ? Math.log10 : root ? Math.sqrt : (v) => v;
    const [a, b] = domain.map(f);
    const to = (v) => range[0] + ((f(v) - a) / (b - a)) * (range[1] - range[0]);
    to.back = (p) => {
      const v = a + ((p - range[0]) / (range[1] - range[0])) * (b - a);
      return log ? 10 ** v : root ? v * v : v;
    };
    return to;
  };

  /* Round numbers within a domain, about `count` of them. */
  living.ticks = ([low, high], count) => {
    const rough = (high - low) / count;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((f) => f * power >= rough * 0.999);
    const first = Math.ceil(low / step - 1e-9);
    const found = [];
    for (let k = first; k * step <= high + 1e-9 * step; k += 1) found.push(k * step);
    return found;
  };

  const decades = ([low, high], count) => {
    const [a, b] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const every = Math.max(1, Math.ceil((b - a + 1) / count));
    const found = [];
    for (let k = a; k <= b; k += every) found.push(10 ** k);
    return found;
  };

  const plain = (v) => String(Number(v.toPrecision(6))).replace("-", "−");
  const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
  const inks = (names) => (names ? names.replace(/\S+/g, "lv-$&") : "");
  const px = (v) => v.toFixed(1);

  /* spec: label (for who does not see it), height (px, or a function of the width), and x and y:
     { label, domain, log or root (the scale), ticks (values), text (of a tick), hidden }. chart.draw(paint) calls
     paint(pen) on an empty chart; handles stay where they are while the rest is drawn anew. */
  living.chart = (parent, spec) => {
    const root = svg("svg", { class: "lv-chart", role: "group", "aria-label": spec.label });
    const back = svg("g", { "aria-hidden": "true" });
    const front = svg("g", {});
    root.append(back, front);
    parent.append(root);
    const chart = { root, spec, front };
    chart.draw = (paint) => {
      const width = Math.max(parent.clientWidth, 160);
      const height = typeof spec.height === "function" ? spec.height(width) : spec.height;
      for (const [key, value] of [["width", width], ["height", height]]) {
        root.setAttribute(key, value);
      }
      const margin = { left: 40, right: 12, top: 26, bottom: 38, ...spec.margin };
      const box = [margin.left, width - margin.right, height - margin.bottom, margin.top];
      const pen = penFor(spec, box);
      paint(pen);
      back.innerHTML = axes(spec, pen, box) + pen.marks.join("");
      chart.pen = pen;
    };
    chart.handle = (options) => handle(chart, options);
    return chart;
  };

  function penFor(spec, [left, right, bottom, top]) {
    const x = scale(spec.x.domain, [left, right], spec.x);
    const y = scale(spec.y.domain, [bottom, top], spec.y);
    const marks = [];
    const within = (v) => Math.min(bottom + 2, Math.max(top - 2, v));
    const path = (xs, ys) =>
      Array.from(xs, (v, i) => `${i ? "L" : "M"}${px(x(v))} ${px(within(y(ys[i])))}`).join("");
    const put = (tag, classes, attributes, text = "") => {
      const list = Object.entries(attributes).map(([key, v]) => ` ${key}="${escape(v)}"`);
      marks.push(`<${tag} class="lv-${classes}"${list.join("")}>${escape(text)}</${tag}>`);
    };
    return {
      x, y, marks, left, right, top, bottom,
      line: (xs, ys, ink) => put("path", `line ${inks(ink)}`, { d: path(xs, ys) }),
      area(xs, ys, ink) {
        const [a, b] = [px(x(xs[0])), px(x(xs[xs.length - 1]))];
        put("path", `area ${inks(ink)}`, {
          d: `${path(xs, ys)}L${b} ${px(bottom)}L${a} ${px(bottom)}Z`,
        });
      },
      /* in pixels where a number is not enough: bars, texts and rules stand on scales */
      bar(x0, x1, y0, y1, ink) {
        const [a, b] = [Math.min(x0, x1), Math.abs(x1 - x0)];
        const [c, d] = [Math.min(y0, y1), Math.abs(y1 - y0)];
        put("rect", `area ${inks(ink)}`, { x: px(a), y: px(c), width: px(b), height: px(d) });
      },
      rule: (x0, y0, x1, y1, ink) =>
        put("path", `line ${inks(ink)}`, { d: `M${px(x0)} ${px(y0)}L${px(x1)} ${px(y1)}` }),
      dot: (x0, y0, r, ink) =>
        put("circle", `dot ${inks(ink)}`, { cx: px(x0), cy: px(y0), r }),
      text: (x0, y0, text, ink, anchor = "start") =>
        put("text", `text ${inks(ink)}`, { x: px(x0), y: px(y0), "text-anchor": anchor }, text),
    };
  }

  function axes(spec, pen, [left, right, bottom, top]) {
    const parts = [];
    const tick = (x, y, anchor, text) =>
      parts.push(`<text class="lv-tick" x="${px(x)}" y="${px(y)}" text-anchor="${anchor}">` +
        `${escape(text)}</text>`);
    const values = (axis, count) =>
      axis.ticks || (axis.log ? decades : living.ticks)(axis.domain, count);
    if (!spec.y.hidden) {
      for (const v of values(spec.y, (bottom - top) / 45)) {
        const y = pen.y(v);
        parts.push(`<path class="lv-grid" d="M${left} ${px(y)}H${right}"/>`);
        tick(left - 7, y + 4, "end", (spec.y.text || plain)(v));
      }
    }
    if (spec.y.label) {
      const x = spec.y.hidden ? left : 0;
      parts.push(`<text class="lv-axis" x="${x}" y="13">${escape(spec.y.label)}</text>`);
    }
    if (!spec.x.hidden) {
      parts.push(`<path class="lv-base" d="M${left} ${px(bottom)}H${right}"/>`);
      for (const v of values(spec.x, (right - left) / 60)) {
        tick(pen.x(v), bottom + 17, "middle", (spec.x.text || plain)(v));
      }
    }
    if (spec.x.label) {
      parts.push(`<text class="lv-axis" x="${px(right)}" y="${px(bottom + 34)}"` +
        ` text-anchor="end">${escape(spec.x.label)}</text>`);
    }
    return parts.join("");
  }

  /* Something to drag, by pointer, finger or arrow keys. options: label, ink, shape ("circle" or
     "square"), text() for who does not see it, value() for a slider's number, drag(x, y) in the
     chart's own units, key(dx, dy) in steps. */
  function handle(chart, options) {
    const group = svg("g", {
      class: `lv-handle ${inks(options.ink)}`, tabindex: 0, role: "slider",
      "aria-label": options.label,
    });
    group.append(svg("circle", { class: "lv-hit", r: 18 }));
    group.append(options.shape === "square"
      ? svg("rect", { class: "lv-knob", x: -7, y: -7, width: 14, height: 14, rx: 2 })
      : svg("circle", { class: "lv-knob", r: 8 }));
    chart.front.append(group);
    const to = (event) => {
      const box = chart.root.getBoundingClientRect();
      const { x, y } = chart.pen;
      options.drag(x.back(event.clientX - box.left), y.back(event.clientY - box.top));
    };
    group.addEventListener("pointerdown", (event) => {
      group.setPointerCapture(event.pointerId);
      event.preventDefault();
      group.focus({ preventScroll: true });
    });
    // else a browser that knows no touch-action within a drawing would scroll
    group.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    group.addEventListener("pointermove", (event) => {
      if (group.hasPointerCapture(event.pointerId)) to(event);
    });
    const steps = {
      ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1],
    };
    group.addEventListener("keydown", (event) => {
      if (!steps[event.key]) return;
      event.preventDefault();
      const times = event.shiftKey ? 5 : 1;
      options.key(...steps[event.key].map((step) => step * times));
    });
    return (x, y) => {
      group.setAttribute("transform", `translate(${px(chart.pen.x(x))} ${px(chart.pen.y(y))})`);
      group.setAttribute("aria-valuenow", Number(options.value().toFixed(3)));
      group.setAttribute("aria-valuetext", options.text());
    };
  }

  /* A chart with a row for each name, such as genes. chart.draw(paint) calls paint(pen, rows),
     where rows[i] is { y, top, bottom }, in pixels. */
  living.rows = (parent, { label, names, x, row = 24, left = 68, ink = "gene" }) => {
    const chart = living.chart(parent, {
      label, x, y: { domain: [0, 1], hidden: true }, height: names.length * row + 52,
      margin: { left, top: 8, right: 16, bottom: 44 },
    });
    const { draw } = chart;
    chart.draw = (paint) => draw((pen) => {
      const places = names.map((_, i) => {
        const y = pen.top + (i + 0.5) * row;
        return { y, top: y - row * 0.3, bottom: y + row * 0.3 };
      });
      names.forEach((name, i) =>
        pen.text(pen.left - 10, places[i].y + 4, name, ink, "end"));
      paint(pen, places);
    });
    return chart;
  };

  /* A chart over a canvas, for many points: chart.points(list) draws { x, y, ink, r, open } anew,
     and again whenever the theme changes; an open point is a ring. */
  living.scatter = (parent, spec) => {
    const box = living.add(parent, "div", { class: "lv-scatter" });
    const canvas = living.add(box, "canvas", { "aria-hidden": "true" });
    const chart = living.chart(box, spec);
    let last = [];
    chart.points = (list) => {
      last = list;
      const sharp = devicePixelRatio || 1;
      const [width, height] = ["width", "height"].map((k) => chart.root.getAttribute(k));
      Object.assign(canvas, { width: width * sharp, height: height * sharp });
      Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
      const brush = canvas.getContext("2d");
      brush.scale(sharp, sharp);
      const style = getComputedStyle(box);
      const colours = {};
      brush.lineWidth = 1.5;
      for (const { x, y, ink, r = 3, open } of list) {
        colours[ink] ||= style.getPropertyValue(`--lv-${ink}`);
        brush.fillStyle = brush.strokeStyle = colours[ink];
        brush.beginPath();
        brush.arc(chart.pen.x(x), chart.pen.y(y), r, 0, 7);
        brush[open ? "stroke" : "fill"]();
      }
    };
    new MutationObserver(() => chart.points(last)).observe(document.documentElement, {
      attributes: true, attributeFilter: ["data-theme", "theme"],
    });
    return chart;
  };

  living.plain = plain;
  living.fixed = (v, digits) => v.toFixed(digits).replace("-", "−");
})();
