/* What the pages of the book do besides showing figures.

   Predictions come before their results. What follows "Predict first:", from the next cell to the
   end of the section, waits until the reader has written down a guess, or asks to see it; a second
   prediction waits with it. The guess stays beside the result. Without scripts, and in print,
   everything is there.

   In print, solutions, hints and folded code are open. */
(function () {
  "use strict";
  const WORDS = "Predict first:";
  const asks = (node) => node.tagName === "P" &&
    Array.from(node.querySelectorAll("strong")).some((s) => s.textContent === WORDS);

  /* What is to wait: the siblings from the first cell after a prediction. */
  function result(question) {
    const waiting = [];
    for (let node = question.nextElementSibling; node; node = node.nextElementSibling) {
      if (node.tagName === "SECTION") break;
      if (waiting.length || node.classList.contains("cell")) waiting.push(node);
    }
    return waiting;
  }

  const element = (tag, attributes, ...children) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  };

  /* A browser may refuse to remember; then every visit asks again. */
  const memory = {
    read(key) {
      try { return localStorage.getItem(key); } catch { return null; }
    },
    write(key, value) {
      try { localStorage.setItem(key, value); } catch { /* asked again next time */ }
    },
  };

  /* Returns what shows the result at once, where it still waits. */
  function ask(question, number) {
    const waiting = result(question);
    if (!waiting.length) return null;
    const box = element("div", { class: "predict-result" });
    waiting[0].before(box);
    box.append(...waiting);
    const key = `predict ${location.pathname.split("/").pop()} ${number}`;
    const input = element("input", { type: "text", autocomplete: "off" });
    const form = element("form", { class: "predict" },
      element("label", {}, "Your guess ", input),
      element("button", { type: "submit" }, "Reveal"),
      element("p", {}, "The section goes on when you have guessed, or with an empty guess."));
    const show = (guess) => {
      form.remove();
      memory.write(key, guess);
      box.classList.remove("waits");
      document.dispatchEvent(new Event("reveal")); // what it holds has a width now
      if (guess) box.prepend(element("p", { class: "predict" }, "You said: ",
        element("b", {}, guess)));
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      show(input.value.trim());
      box.setAttribute("tabindex", "-1");
      box.focus({ preventScroll: true });
    });
    const before = memory.read(key);
    if (before !== null) {
      show(before);
      return null;
    }
    box.before(form);
    box.classList.add("waits");
    const wanted = () => {
      const id = decodeURIComponent(location.hash.slice(1));
      if (id && box.contains(document.getElementById(id))) show("");
    };
    window.addEventListener("hashchange", wanted);
    wanted();
    return () => { if (form.isConnected) show(""); };
  }

  /* For who reads a second time, or in a hurry. */
  function offerAll(showers) {
    const first = document.querySelector("form.predict");
    if (!first || showers.length < 2) return;
    const button = element("button", { type: "button", class: "reveal-all" },
      "Reveal all results on this page");
    button.addEventListener("click", () => showers.forEach((show) => show()));
    document.addEventListener("reveal", () => {
      if (!document.querySelector("form.predict")) button.remove();
    });
    first.after(button);
  }

  const folded = (selector) => document.querySelectorAll(`.bd-article details${selector}`);
  window.addEventListener("beforeprint", () => {
    for (const details of folded(":not([open])")) {
      details.open = true;
      details.dataset.printed = "";
    }
  });
  window.addEventListener("afterprint", () => {
    for (const details of folded("[data-printed]")) {
      details.open = false;
      delete details.dataset.printed;
    }
  });

  document.addEventListener("DOMContentLoaded", () => {
    const questions = Array.from(document.querySelectorAll(".bd-article p")).filter(asks);
    offerAll(questions.map(ask).filter(Boolean));
  });
})();
