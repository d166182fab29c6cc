"use strict";

// Tables: a button in each column title sorts by it: up, down, and back to the first order.
{
  const NUMBER = /^[-+]?(\d|\.\d|inf$)/; // and what follows it, such as an error in brackets

  /** What rows are sorted by: numbers if all of a column are, else texts; null for nothing. */
  const keysOf = (rows, column) => {
    const texts = rows.map((row) => row.cells[column].dataset.value).map((text) => (text === "nan" ? "" : text));
    const numeric = texts.every((text) => text === "" || NUMBER.test(text));
    const read = (text) => (numeric ? Number.parseFloat(text.replace("inf", "Infinity")) : text);
    return new Map(rows.map((row, k) => [row, texts[k] === "" ? null : read(texts[k])]));
  };

  const compare = (a, b) => {
    if (typeof a === "number") return a === b ? 0 : a - b;
    return a.localeCompare(b, "en", { numeric: true });
  };

  const sort = (body, first, column, direction) => {
    const [rows, keys] = [[...first], keysOf(first, column)];
    rows.sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (a === null || b === null) return direction && (a === null) - (b === null); // last, whatever the direction
      return direction * compare(a, b);
    });
    body.append(...rows);
  };

  for (const table of document.querySelectorAll("main table")) {
    const body = table.tBodies[0];
    const first = [...body.rows];
    const titles = [...table.querySelectorAll(".titles > th")];
    if (first.length < 2) continue;
    titles.forEach((title, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...title.childNodes);
      if (title.title) {
        button.title = title.title;
        title.removeAttribute("title");
      }
      title.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[title.ariaSort];
        const order = next === undefined ? "ascending" : next;
        for (const each of titles) each.removeAttribute("aria-sort");
        if (order) title.ariaSort = order;
        sort(body, first, column, { ascending: 1, descending: -1 }[order] ?? 0);
      });
    });
  }
}

// Paper cannot be unfolded.
{
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details.printed:not([open])")];
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of opened) each.open = false;
  });
}
