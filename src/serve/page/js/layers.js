// Layers as a row of slots, and the curve of the answers over them.
import { el, percent, svg, visible } from "./dom.js";
import { chosen, isNoise, look } from "./results.js";
import { change, state } from "./state.js";
const COLOURS = ["var(--a)", "var(--b)", "var(--c)", "var(--d)"];
const HEIGHT = 150;
export class Layers {
    column;
    told;
    element;
    slots = el("div", { class: "slots", role: "radiogroup", "aria-label": "layer" });
    curve = svg("svg", { class: "curve", role: "img" });
    legend = el("p", { class: "legend" });
    count = 0;
    from = null;
    constructor(column, told) {
        this.column = column;
        this.told = told;
        this.element = el("div", { class: "layers" }, this.slots, this.curve, this.legend);
        this.slots.addEventListener("keydown", (event) => this.key(event));
        this.slots.addEventListener("pointerleave", () => this.look(null));
        addEventListener("pointerup", () => (this.from = null));
        new ResizeObserver(() => this.draw()).observe(this.element);
        this.curve.addEventListener("pointermove", (event) => this.look(this.under(event)));
        this.curve.addEventListener("pointerleave", () => this.look(null));
        this.curve.addEventListener("click", (event) => this.go(this.under(event)));
    }
    under(event) {
        const box = this.curve.getBoundingClientRect();
        const at = Math.floor(((event.clientX - box.left) / box.width) * this.count);
        return Math.min(Math.max(at, 0), this.count - 1);
    }
    look(layer) {
        if (look(layer === null ? null : this.column.first(layer)))
            this.told();
    }
    go(layer, step = true) {
        change({ layer: this.column.first(layer) }, step);
    }
    key(event) {
        const now = chosen();
        const at = now === null ? 0 : this.column.of(now);
        const to = {
            ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: this.count - 1,
            PageUp: at + 5, PageDown: at - 5,
        };
        if (!(event.key in to))
            return;
        event.preventDefault();
        // The pointer may rest on another slot.
        look(null);
        const next = Math.min(Math.max(to[event.key], 0), this.count - 1);
        this.go(next, false);
        this.slots.children[next].focus();
    }
    /** Dragged from one slot to another: the layers between are manipulated together. */
    drag(to) {
        if (this.from === null || to === this.from)
            return;
        const [a, b] = [Math.min(this.from, to), Math.max(this.from, to)];
        change({ layer: this.column.first(a), extent: `window:${b - a + 1}` }, false);
    }
    show(count) {
        if (count !== this.count) {
            this.count = count;
            this.slots.replaceChildren(...Array.from({ length: count }, (_, layer) => this.slot(layer)));
            this.slots.style.gridTemplateColumns = `repeat(${count}, minmax(0, 1fr))`;
        }
        const results = this.column.results;
        const now = chosen();
        const kept = this.column.isKept ? this.column.state.layer : null;
        const shown = kept ?? (now === null ? null : this.column.of(now));
        const width = Number(/^window:(\d+)$/.exec(state.extent)?.[1] ?? 1);
        const most = Math.max(1e-9, ...[...results.cells.values()].map((cell) => cell.kl));
        [...this.slots.children].forEach((slot, layer) => {
            const cell = results.cells.get(layer);
            const noise = isNoise(results, cell);
            const waits = !cell && !results.done && !results.error && (results.layers.length === 0 || results.layers.includes(layer));
            slot.className = "slot" + (noise ? " noise" : "") + (waits ? " waits" : "") + (cell ? " there" : "")
                + (shown !== null && layer >= shown && layer < shown + width ? " on" : "");
            slot.setAttribute("aria-checked", String(layer === shown));
            slot.setAttribute("tabindex", layer === (shown ?? 0) ? "0" : "-1");
            const kl = cell ? `KL ${cell.kl.toFixed(4)} nats${noise ? ", no more than rounding (≈)" : ""}, next ${visible(cell.argmax.text)}` : waits ? "not there yet" : "not defined here";
            slot.setAttribute("aria-label", `layer ${layer}: ${kl}`);
            slot.setAttribute("title", `layer ${layer}: ${kl}`);
            // A square root, so that small effects are seen beside large ones.
            const effect = cell ? Math.sqrt(cell.kl / most) : 0;
            const bar = slot.firstElementChild;
            bar.style.height = cell ? `${6 + 94 * effect}%` : "0";
            slot.lastElementChild.textContent = noise ? "≈" : String(layer);
        });
        this.draw();
    }
    slot(layer) {
        const slot = el("button", { type: "button", role: "radio", "data-layer": layer }, el("i"), el("span", {}, String(layer)));
        slot.addEventListener("pointerdown", (event) => {
            this.from = layer;
            slot.releasePointerCapture?.(event.pointerId);
        });
        slot.addEventListener("pointerenter", (event) => {
            if (this.from !== null && event.buttons)
                this.drag(layer);
            else
                this.look(layer);
        });
        slot.addEventListener("click", () => this.go(layer));
        return slot;
    }
    draw() {
        const results = this.column.results;
        const width = this.element.clientWidth;
        const answers = results.clean?.answers ?? [];
        const x = (layer) => ((layer + 0.5) * width) / Math.max(this.count, 1);
        const y = (p) => HEIGHT - 6 - p * (HEIGHT - 22);
        const cells = [...results.cells].sort((a, b) => a[0] - b[0]);
        const parts = [];
        for (const p of [0, 0.5, 1]) {
            parts.push(svg("line", { x1: 0, x2: width, y1: y(p), y2: y(p), class: "grid" }));
            parts.push(svg("text", { x: 2, y: y(p) - 2, class: "scale" }, `${100 * p}%`));
        }
        const now = this.column.shown;
        if (now !== null)
            parts.push(svg("line", { x1: x(now), x2: x(now), y1: 0, y2: HEIGHT, class: "now" }));
        answers.slice(0, COLOURS.length).forEach((answer, n) => {
            const stroke = COLOURS[n];
            parts.push(svg("line", { x1: 0, x2: width, y1: y(answer.probability), y2: y(answer.probability), class: "clean" }));
            parts.at(-1).style.stroke = stroke;
            const points = cells.map(([layer, cell]) => `${x(layer)},${y(cell.answers[n]?.probability ?? 0)}`);
            const line = svg("polyline", { points: points.join(" "), class: "line" });
            line.style.stroke = stroke;
            parts.push(line);
            for (const [layer, cell] of cells) {
                const dot = svg("circle", { cx: x(layer), cy: y(cell.answers[n]?.probability ?? 0), r: layer === now ? 4 : 2.2, class: isNoise(results, cell) ? "dot noise" : "dot" });
                dot.style.fill = stroke;
                parts.push(dot);
            }
        });
        this.curve.setAttribute("viewBox", `0 0 ${Math.max(width, 1)} ${HEIGHT}`);
        this.curve.setAttribute("height", String(HEIGHT));
        this.curve.setAttribute("aria-label", "probability of each answer over the layers; the slots have the numbers");
        this.curve.replaceChildren(...parts);
        this.legend.replaceChildren(...answers.slice(0, COLOURS.length).map((answer, n) => {
            const key = el("span", { class: "key" }, el("i"), el("bdi", {}, visible(answer.text)), ` clean ${percent(answer.probability)}%`);
            key.firstElementChild.style.background = COLOURS[n];
            return key;
        }), el("span", { class: "key quiet" }, "dashed: clean · height of a slot: square root of KL"));
    }
}
