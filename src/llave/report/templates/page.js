"use strict";
// A press on a column's head sorts by it; a word in the field leaves what has it in its name.
const number = (text) => parseFloat(text.replaceAll("\u2212", "-").replaceAll(",", ""));
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      for (const each of heads) each.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const sets = table.tBodies.length > 1;
      const parts = sets ? [...table.tBodies] : [...table.tBodies[0].rows].filter((row) => !row.matches(".overall"));
      const value = (part) => (sets ? part.rows[0] : part).cells[column]?.textContent ?? "";
      const order = (a, b) => {
        const [x, y] = [number(value(a)), number(value(b))];
        return isNaN(x) || isNaN(y) ? value(b).localeCompare(value(a)) : y - x;
      };
      parts.sort((a, b) => (up ? -order(a, b) : order(a, b)));
      const home = sets ? table : table.tBodies[0];
      const last = sets ? null : home.querySelector(".overall");
      for (const part of parts) home.insertBefore(part, last);
    });
  });
}
for (const field of document.querySelectorAll("input[data-filter]")) {
  field.closest(".filter").hidden = false;
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const each of document.querySelectorAll("[data-name]"))
      each.hidden = !words.every((word) => each.dataset.name.toLowerCase().includes(word));
  });
}
