"use strict";
const told = JSON.parse(document.getElementById("cells").textContent);
const tip = document.getElementById("tip");
const panel = document.getElementById("told");

const element = (name, text, kind) => {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
};
const percent = (p) => (p > 0 && p < 5e-5 ? (100 * p).toExponential(0) : (100 * p).toFixed(2)) + " %";
const cellOf = (target) => target instanceof Element ? target.closest("td[data-n]") : null;

function show(cell, x, y) {
  const own = told[cell.dataset.n];
  const lines = [element("p", own.place, "place")];
  for (const number of own.numbers) lines.push(element("p", number));
  // The five likeliest; those of the clean run that are not among them come when it is clicked.
  for (const next of own.next.slice(0, 5)) lines.push(element("p", next.text + " " + percent(next.here)));
  tip.replaceChildren(...lines);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  const left = Math.min(x + 14, innerWidth - box.width - 8);
  const below = y + 18 + box.height < innerHeight;
  tip.style.left = Math.max(8, left) + "px";
  tip.style.top = Math.max(8, below ? y + 18 : y - box.height - 10) + "px";
}

function choose(cell) {
  for (const other of document.querySelectorAll("td.chosen")) other.classList.remove("chosen");
  cell.classList.add("chosen");
  const own = told[cell.dataset.n];
  const parts = [element("h2", own.place)];
  for (const number of own.numbers) parts.push(element("p", number));
  if (own.next.length > 0) {
    const compared = own.next[0].clean !== null;
    const table = element("table");
    const head = element("tr");
    const names = compared ? ["next token", "clean", "here", "change"] : ["next token", "probability"];
    for (const name of names) head.append(element("th", name));
    table.append(head);
    for (const next of own.next) {
      const row = element("tr");
      row.append(element("td", next.text));
      if (compared) row.append(element("td", percent(next.clean)));
      row.append(element("td", percent(next.here)));
      if (compared) {
        const change = 100 * (next.here - next.clean);
        row.append(element("td", (change < 0 ? "" : "+") + change.toFixed(2)));
      }
      table.append(row);
    }
    parts.push(table);
  }
  panel.replaceChildren(...parts);
}

document.addEventListener("mousemove", (event) => {
  const cell = cellOf(event.target);
  if (cell) show(cell, event.clientX, event.clientY);
  else tip.hidden = true;
});
document.addEventListener("mouseleave", () => { tip.hidden = true; });
document.addEventListener("click", (event) => {
  const cell = cellOf(event.target);
  if (cell) choose(cell);
});
document.addEventListener("keydown", (event) => {
  const cell = cellOf(document.activeElement);
  if (!cell) return;
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (step) {
    const rows = [...cell.parentElement.parentElement.rows];
    const row = rows[rows.indexOf(cell.parentElement) + step[0]];
    const next = row && row.cells[cell.cellIndex + step[1]];
    if (next && next.dataset.n) { next.focus(); event.preventDefault(); }
  } else if (event.key === "Enter" || event.key === " ") {
    choose(cell);
    event.preventDefault();
  }
});
