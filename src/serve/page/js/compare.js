// Clean beside manipulated: the likeliest tokens, what rose and fell, the answers.
import { el, percent, quoted, visible, within } from "./dom.js";
import { isNoise } from "./results.js";
const SHOWN = 10;
function row(token, mark) {
    const bar = el("i", { class: "bar" });
    bar.style.width = `${100 * token.probability}%`;
    return el("tr", {}, el("td", {}, quoted(token.text)), el("td", { class: "number", title: `probability ${token.probability}`, "data-value": token.probability }, percent(token.probability)), el("td", { class: "bars" }, bar), el("td", { class: "mark", title: mark ? mark[1] : null }, mark ? mark[0] : ""));
}
function column(title, cell, other, noise) {
    const rows = cell.top.slice(0, SHOWN).map((token, rank) => {
        if (!other || noise)
            return row(token, null);
        const before = other.top.findIndex((t) => t.text === token.text && t.id === token.id);
        if (before < 0)
            return row(token, ["▲ new", `not among the clean run's ${other.top.length} likeliest`]);
        const was = other.top[before].probability;
        const arrow = token.probability > was ? "▲" : token.probability < was ? "▼" : "=";
        const moved = before === rank ? arrow : `${arrow} from ${before + 1}`;
        return row(token, [moved, `${percent(was)}% in the clean run`]);
    });
    return el("section", { class: "column" + (noise ? " noise" : "") }, el("h3", {}, title), el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "next token"), el("th", { scope: "col", class: "number" }, "%"), el("th", {}), el("th", {}))), el("tbody", {}, ...rows)));
}
function answers(clean, cell) {
    const rows = clean.answers.map((answer, n) => {
        const now = cell?.answers[n];
        const value = (of) => of
            ? [el("td", { class: "number", title: `probability ${of.probability}`, "data-value": of.probability }, percent(of.probability)), el("td", { class: "number" }, String(of.rank))]
            : [el("td"), el("td")];
        return el("tr", {}, el("th", { scope: "row" }, quoted(answer.text)), ...value(answer), ...value(now));
    });
    const head = ["answer", "clean %", "rank", "now %", "rank"];
    return el("table", { class: "answers" }, el("thead", {}, el("tr", {}, ...head.map((text, n) => el("th", { scope: "col", class: n ? "number" : null }, text)))), el("tbody", {}, ...rows));
}
/** What is shown of a layer's run. */
export function compare(results, cell, name) {
    const clean = results.clean;
    if (!clean)
        return { body: [], sentence: [] };
    const noise = isNoise(results, cell);
    const first = within(clean.top[0].text);
    let sentence = ["Clean, the next token is ", first, ` (${percent(clean.top[0].probability)}%).`];
    if (cell) {
        const kl = `(KL ${cell.kl.toFixed(4)} nats).`;
        sentence = noise
            ? [`${name}: ≈ no difference beyond rounding ${kl}`]
            : visible(clean.top[0].text) === visible(cell.top[0].text)
                ? [`${name}: the next token stays `, first, ` ${kl}`]
                : [`${name}: the next token becomes `, within(cell.top[0].text), " instead of ", first, ` ${kl}`];
    }
    const body = [
        answers(clean, cell),
        el("div", { class: "columns" }, column("clean", clean, null, false), cell ? column(noise ? `${name} ≈` : name, cell, clean, noise) : el("section", { class: "column empty" }, el("h3", {}, name || "…"), el("p", { class: "quiet" }, results.error ? "" : "computing …"))),
    ];
    return { body, sentence };
}
/** From which layer up the next token stays what it is, once all layers are there. */
export function settles(results) {
    const { clean } = results;
    if (!clean || !(results.done || results.from) || results.cells.size < 2)
        return [];
    const cells = [...results.cells].sort((a, b) => b[0] - a[0]);
    /** The lowest layer from which all hold. */
    const from = (holds) => {
        const first = cells.findIndex(([, cell]) => !holds(cell));
        return first < 0 ? cells.at(-1)[0] : first === 0 ? null : cells[first - 1][0];
    };
    const said = within(clean.top[0].text);
    const layer = from((cell) => cell.top[0].id === clean.top[0].id && cell.top[0].text === clean.top[0].text);
    const noise = from((cell) => isNoise(results, cell));
    const rounding = noise === null ? "" : ` From layer ${noise} up nothing differs by more than rounding (≈).`;
    if (layer === null)
        return ["The next token is another than ", said, " even at the last layer."];
    if (layer === cells.at(-1)[0])
        return ["The next token stays ", said, ` at every layer.${rounding}`];
    return [`From layer ${layer} up the next token stays `, said, `.${rounding}`];
}
/** All cells as CSV: a line for each layer and answer. */
export function csv(results) {
    const text = (value) => `"${value.replace(/"/g, '""')}"`;
    const lines = ["layer,kl,next_token,answer,probability,rank,within_noise"];
    const all = results.clean ? [["clean", results.clean]] : [];
    if (results.fixed)
        all.push(["", results.fixed]);
    for (const [layer, cell] of [...results.cells].sort((a, b) => a[0] - b[0]))
        all.push([String(layer), cell]);
    for (const [layer, cell] of all) {
        for (const answer of cell.answers) {
            lines.push([layer, cell.kl, text(cell.argmax.text), text(answer.text), answer.probability, answer.rank, isNoise(results, cell)].join(","));
        }
    }
    return lines.join("\n") + "\n";
}
