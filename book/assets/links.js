/* What a name in the text means, under the pointer or the focus: an equation, a figure, a word of
   the glossary. And formulas, tables and code that are wider than the page: formulas shrink a
   little if that is enough; what still scrolls says so at its edge, and a keyboard can scroll it. */
(function () {
  "use strict";
  const SMALLEST = 0.8; // of a formula's size
  const WAIT = 150; // ms, so that a pointer on its way elsewhere opens nothing

  /* ---- Previews ---------------------------------------------------------------------------- */

  const box = document.createElement("div");
  box.className = "preview";
  box.id = "preview";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  let shown = null;
  let timer = 0;

  const later = (what) => {
    clearTimeout(timer);
    timer = setTimeout(what, WAIT);
  };

  function hide() {
    clearTimeout(timer);
    if (shown) shown.removeAttribute("aria-describedby");
    shown = null;
    box.hidden = true;
  }

  async function show(link) {
    const template = document.getElementById(`see-${link.dataset.see}`);
    if (!template || shown === link) return;
    hide();
    shown = link;
    box.replaceChildren(template.content.cloneNode(true));
    box.hidden = false;
    place(link);
    link.setAttribute("aria-describedby", "preview");
    if (window.MathJax && MathJax.typesetPromise && /\\[([]/.test(box.textContent)) {
      await MathJax.typesetPromise([box]);
      if (shown === link) place(link);
    }
  }

  /* Below the name, or above it where there is no room. */
  function place(link) {
    const at = link.getClientRects()[0];
    const width = Math.min(box.offsetWidth, innerWidth - 16);
    const left = Math.max(8, Math.min(at.left, innerWidth - width - 8));
    const below = at.bottom + box.offsetHeight + 8 < innerHeight || at.top < box.offsetHeight + 8;
    box.style.left = `${left + scrollX}px`;
    box.style.top = `${(below ? at.bottom + 6 : at.top - box.offsetHeight - 6) + scrollY}px`;
  }

  function listen() {
    document.body.append(box);
    for (const link of document.querySelectorAll("a.see")) {
      link.addEventListener("pointerenter", (event) => {
        if (event.pointerType === "mouse") later(() => show(link));
      });
      link.addEventListener("pointerleave", () => later(hide));
      link.addEventListener("focus", () => link.matches(":focus-visible") && show(link));
      link.addEventListener("blur", hide);
    }
    box.addEventListener("pointerenter", () => clearTimeout(timer)); // one may go and read it
    box.addEventListener("pointerleave", () => later(hide));
    document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  }

  /* ---- What is too wide ---------------------------------------------------------------------- */

  const WIDE = [
    ["div.math", "Formula"],
    [".cell_output .text_html", "Table"],
    [".pst-scrollable-table-container", "Table"],
    [".bd-article pre", "Code"],
  ];

  function fit(node, name) {
    if (name === "Formula") {
      node.style.fontSize = "";
      const ratio = node.clientWidth / node.scrollWidth;
      if (ratio < 1) node.style.fontSize = `${Math.max(SMALLEST, ratio * 0.99).toFixed(3)}em`;
    }
    const wide = node.scrollWidth > node.clientWidth + 1;
    node.classList.toggle("too-wide", wide);
    if (wide) {
      node.tabIndex = 0;
      node.setAttribute("role", "group");
      node.setAttribute("aria-label", `${name}, wider than the page`);
    } else if (node.classList.contains("was-wide")) {
      for (const attribute of ["tabindex", "role", "aria-label"]) node.removeAttribute(attribute);
    }
    node.classList.toggle("was-wide", wide);
  }

  const fitAll = () => {
    for (const [where, name] of WIDE) {
      for (const node of document.querySelectorAll(where)) if (node.clientWidth) fit(node, name);
    }
  };

  /* ---- A mistake is reported with the section that is being read ---------------------------- */

  function reportSection(link) {
    const headings = Array.from(document.querySelectorAll(".bd-article :is(h2, h3)"));
    const above = headings.filter((h) => h.getBoundingClientRect().top < innerHeight / 2).pop();
    if (!above) return;
    const address = new URL(link.href);
    const text = address.searchParams.get("body");
    const name = above.textContent.replace(/#$/, "").trim();
    address.searchParams.set("body", text.replace(/Section: .*/, `Section: ${name}`));
    link.href = address.href;
  }

  document.addEventListener("DOMContentLoaded", () => {
    listen();
    for (const link of document.querySelectorAll("a.report")) {
      link.addEventListener("click", () => reportSection(link));
    }
    let last = 0;
    new ResizeObserver(() => {
      if (innerWidth !== last) fitAll();
      last = innerWidth;
    }).observe(document.body);
    document.addEventListener("toggle", fitAll, true); // something was unfolded
    document.addEventListener("reveal", fitAll);
  });
  window.addEventListener("load", () => {
    const typeset = window.MathJax && MathJax.startup && MathJax.startup.promise;
    (typeset || Promise.resolve()).then(fitAll);
  });
})();
