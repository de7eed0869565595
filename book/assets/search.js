/* The page of the search. Its sections are in sections.js: page, anchor, headings and prose. */
(function () {
  "use strict";
  const MOST = 30; // results
  const AROUND = 110; // characters of an excerpt on each side
  const plain = (text) => text.normalize("NFKD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
  const stem = (word) => (word.length > 4 ? word.replace(/(ies|es|s)$/, "") : word);

  const matcher = (word) =>
    new RegExp(`(?<![\\p{L}\\p{N}])${stem(word).replace(/[^\p{L}\p{N}]/gu, "\\$&")}`, "giu");

  /* All words must be there; in a heading they count more than in the text. */
  function score([, , title, text], words) {
    let total = 0;
    for (const word of words) {
      const [above, below] = [title, text].map((t) => (plain(t).match(matcher(word)) || []).length);
      if (!above && !below) return 0;
      total += 8 * Math.min(above, 1) + Math.min(below, 4);
    }
    return total;
  }

  function marked(text, words) {
    const node = document.createElement("p");
    const any = new RegExp(words.map((w) => matcher(w).source).join("|"), "giu");
    let done = 0;
    for (const found of text.matchAll(any)) {
      const mark = document.createElement("mark");
      mark.textContent = found[0];
      node.append(text.slice(done, found.index), mark);
      done = found.index + found[0].length;
    }
    node.append(text.slice(done));
    return node;
  }

  function excerpt(text, words) {
    const first = Math.max(0, text.search(matcher(words[0])));
    const from = first < AROUND ? 0 : text.indexOf(" ", first - AROUND) + 1;
    const part = text.slice(from, first + AROUND).replace(/\s\S*$/, "");
    return `${from ? "… " : ""}${part}${first + AROUND < text.length ? " …" : ""}`;
  }

  document.addEventListener("DOMContentLoaded", () => {
    const query = (new URLSearchParams(location.search).get("q") || "").trim();
    for (const input of document.querySelectorAll("input[name=q]")) input.value = query;
    const place = document.getElementById("search-results");
    const words = plain(query).split(/[^\p{L}\p{N}]+/u).filter(Boolean);
    if (!place || !words.length) return;
    const found = window.bookSections
      .map((section) => [score(section, words), section])
      .filter(([points]) => points)
      .sort(([a], [b]) => b - a);
    const said = document.createElement("p");
    said.setAttribute("role", "status");
    said.textContent = found.length
      ? `${found.length} ${found.length === 1 ? "section has" : "sections have"} it.`
      : "No section has all of these words.";
    const list = document.createElement("ol");
    list.className = "found";
    for (const [, [page, anchor, title, text]] of found.slice(0, MOST)) {
      const link = document.createElement("a");
      link.href = `${page}.html${anchor ? `#${anchor}` : ""}`;
      link.textContent = title;
      const item = document.createElement("li");
      item.append(link, marked(excerpt(text, words), words));
      list.append(item);
    }
    place.replaceChildren(said, list);
  });
})();
