// Stored runs: which there are, how far each is, its curves, report and items. A run that grows is
// looked at again and again; an item's result can be asked again above.
import { ask, get, page } from "./api.js";
import { button, choice, el, svg, visible } from "./dom.js";
import { models } from "./results.js";
import { change, state } from "./state.js";
const COLOURS = ["var(--a)", "var(--b)", "var(--c)", "var(--d)", "var(--e)", "var(--f)"];
const [WIDTH, HEIGHT] = [640, 200];
const PAGE = 50;
/** Milliseconds between two looks at what may grow. */
const AGAIN = 2000;
function progress(of) {
    if (of.stored === undefined)
        return "";
    const all = of.all === null || of.all === undefined ? "" : ` of ${of.all}`;
    if (of.complete)
        return `${of.stored}${all} results, complete`;
    const quiet = (of.seen_seconds_ago ?? 0) > 600 ? `, last seen ${Math.round(of.seen_seconds_ago / 60)} minutes ago` : "";
    return `${of.stored}${all} results, worked on by ${of.worked_on_by ?? "nobody"}${quiet}`;
}
/** Mean scores over the layers, a line for each manipulation. */
function curves(task, layers) {
    const x = (layer) => 34 + ((layer + 0.5) * (WIDTH - 40)) / Math.max(layers, 1);
    const y = (score) => HEIGHT - 22 - score * (HEIGHT - 32);
    const parts = [];
    for (const p of [0, 0.5, 1]) {
        parts.push(svg("line", { x1: 34, x2: WIDTH - 6, y1: y(p), y2: y(p), class: "grid" }), svg("text", { x: 2, y: y(p) + 3, class: "scale" }, `${100 * p}%`));
    }
    const step = Math.max(1, Math.ceil(layers / 16));
    for (let layer = 0; layer < layers; layer += step)
        parts.push(svg("text", { x: x(layer) - 4, y: HEIGHT - 6, class: "scale" }, String(layer)));
    parts.push(svg("line", { x1: 34, x2: WIDTH - 6, y1: y(task.clean.score), y2: y(task.clean.score), class: "clean grid" }));
    task.curves.forEach((curve, n) => {
        const stroke = COLOURS[n % COLOURS.length];
        const line = svg("polyline", { class: "line", points: curve.points.map((p) => `${x(p.layer)},${y(p.score)}`).join(" ") });
        line.style.stroke = stroke;
        parts.push(line);
        for (const point of curve.points) {
            const bar = svg("line", { x1: x(point.layer), x2: x(point.layer), y1: y(point.low), y2: y(point.high), class: "interval" });
            bar.style.stroke = stroke;
            const dot = svg("circle", { cx: x(point.layer), cy: y(point.score), r: 2.5 }, svg("title", {}, `${curve.manipulation} at layer ${point.layer}: ${(100 * point.score).toFixed(1)}% (95% ${(100 * point.low).toFixed(1)} to ${(100 * point.high).toFixed(1)}) of ${point.n} items`));
            dot.style.fill = stroke;
            parts.push(bar, dot);
        }
    });
    const image = svg("svg", { class: "curve run", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${task.metric} over the layers; the report has the numbers` }, ...parts);
    const legend = el("p", { class: "legend" }, ...task.curves.map((curve, n) => {
        const key = el("span", { class: "key" }, el("i"), curve.manipulation);
        key.firstElementChild.style.background = COLOURS[n % COLOURS.length];
        return key;
    }), el("span", { class: "key quiet" }, `dashed: clean, ${(100 * task.clean.score).toFixed(1)}% of ${task.clean.n} items`));
    return el("figure", {}, el("figcaption", {}, `${task.task}: ${task.metric} by layer, with 95% intervals`), image, legend);
}
export class Runs {
    open;
    element;
    list = el("table", { class: "list" });
    says = el("p", { class: "quiet", role: "status" });
    detail = el("div");
    head = el("div");
    figures = el("div", { class: "beside" });
    frame = el("div");
    items = el("div");
    opened = el("div");
    problem = el("p", { class: "problem", role: "alert" });
    all = [];
    shown = "";
    run = null;
    variant = 0;
    from = 0;
    looking = false;
    constructor(open) {
        this.open = open;
        this.element = el("details", { class: "runs", hidden: true, toggle: () => void this.look() }, el("summary", {}, "Runs"), this.says, el("div", { class: "scroll" }, this.list), this.detail);
    }
    /** There are runs to look at; without a model they are all that there is. */
    begin(alone) {
        this.element.hidden = false;
        if (alone || state.run)
            this.element.open = true;
        void this.look();
    }
    show() {
        if (state.run === (this.run?.id ?? ""))
            return;
        if (state.run)
            this.element.open = true;
        void this.look();
    }
    /** Looks at the list and at the run that is shown, and again after a while. */
    async look() {
        if (this.looking || !this.element.open)
            return;
        this.looking = true;
        while (this.element.open) {
            const begun = performance.now();
            if (!document.hidden)
                await this.refresh().catch((error) => { this.says.textContent = String(error.message); });
            const took = performance.now() - begun;
            const wanted = state.run;
            const until = begun + took + Math.max(AGAIN, 5 * took);
            // Another run is looked at when it is asked for.
            while (performance.now() < until && state.run === wanted && this.element.open)
                await new Promise((wake) => setTimeout(wake, 100));
        }
        this.looking = false;
    }
    async refresh() {
        this.all = (await get("/v1/runs")).runs;
        this.says.textContent = this.all.length ? "" : "There is no run in this folder yet.";
        this.showList();
        const id = state.run;
        if (!id) {
            this.run = null;
            this.shown = "";
            this.detail.replaceChildren();
            return;
        }
        const listed = this.all.find((one) => one.id === id);
        const key = JSON.stringify([id, listed?.stored, listed?.complete]);
        if (key !== this.shown) {
            const other = this.run?.id !== id;
            const run = await get(`/v1/runs/${encodeURIComponent(id)}`);
            if (state.run !== id)
                return;
            this.run = run;
            this.shown = key;
            if (other)
                this.build();
            this.draw();
            if (other || this.from + PAGE > (run.variants[this.variant]?.items ?? 0) - PAGE)
                await this.listItems();
        }
        if (listed && this.run)
            this.head.querySelector(".progress").textContent = progress(listed);
    }
    showList() {
        const focused = document.activeElement?.dataset.run;
        const head = ["run", "models", "tasks", "manipulations", "results", "begun (UTC)"];
        this.list.replaceChildren(el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col" }, text)))), el("tbody", {}, ...this.all.map((run) => el("tr", { class: run.id === state.run ? "on" : null }, el("th", { scope: "row" }, button(run.name, () => change({ run: run.id === state.run ? "" : run.id }), { "data-run": run.id, "aria-pressed": String(run.id === state.run) })), el("td", {}, run.models.join(", ")), el("td", {}, run.tasks.join(", ")), el("td", {}, run.manipulations.join(", ")), el("td", {}, run.error ?? progress(run)), el("td", {}, (run.begun ?? "").replace("T", " ").replace("Z", ""))))));
        if (focused)
            this.list.querySelector(`[data-run="${CSS.escape(focused)}"]`)?.focus();
    }
    /** The parts of a run that was not shown before. */
    build() {
        const run = this.run;
        [this.variant, this.from] = [0, 0];
        this.frame.replaceChildren();
        this.opened.replaceChildren();
        this.problem.textContent = "";
        const report = button("report", () => {
            const there = this.frame.firstElementChild;
            this.frame.replaceChildren(...(there ? [] : [el("iframe", { class: "report", src: run.report, title: `report of ${run.name}` })]));
            report.setAttribute("aria-pressed", String(!there));
        }, { "aria-pressed": "false" });
        this.head.replaceChildren(el("h2", {}, run.name), el("p", { class: "progress", role: "status" }, progress(run)), el("div", { class: "settings" }, report, el("a", { href: run.report, target: "_blank", rel: "noopener" }, "report in a window of its own")), run.command ? el("code", { class: "command" }, run.command) : "");
        this.detail.replaceChildren(this.head, this.figures, this.frame, el("h2", {}, "Items"), this.items, this.problem, this.opened);
    }
    draw() {
        const run = this.run;
        this.figures.replaceChildren(...run.variants.flatMap((variant) => variant.tasks.map((task) => el("section", {}, run.variants.length > 1 ? el("h3", {}, variant.label) : "", curves(task, variant.n_layer)))));
    }
    path(rest) {
        return `/v1/runs/${encodeURIComponent(this.run.id)}/${rest}variant=${this.variant}`;
    }
    async listItems() {
        const run = this.run;
        const found = await get(this.path(`items?from=${this.from}&`));
        const labels = run.variants.map((variant) => variant.label);
        const go = (from) => { this.from = from; void this.listItems(); };
        this.items.replaceChildren(el("div", { class: "settings" }, labels.length > 1 ? choice("model of the run", labels, labels[this.variant], (label) => { this.variant = labels.indexOf(label); this.opened.replaceChildren(); go(0); }) : "", el("span", { class: "quiet" }, `${found.items.length ? this.from + 1 : 0} to ${this.from + found.items.length} of ${found.all}`), button("earlier", () => go(Math.max(0, this.from - PAGE)), { disabled: this.from === 0 }), button("later", () => go(this.from + PAGE), { disabled: this.from + PAGE >= found.all })), el("div", { class: "items" }, ...found.items.map((item) => button(item.title, () => void this.openItem(item.number), { title: item.prompt, dir: "auto", "data-item": item.number }))));
    }
    /** An item's results: a cell for each layer, which is asked again where it is clicked. */
    async openItem(number) {
        const [run, variant] = [this.run, this.variant];
        const item = await get(this.path(`items/${number}?`));
        if (this.run !== run && this.run?.id !== run.id)
            return;
        const rows = item.rows.filter((row) => row.layer !== null);
        const clean = item.rows.find((row) => row.manipulation === "clean");
        const layers = [...new Set(rows.map((row) => row.layer))].sort((a, b) => a - b);
        const names = [...new Set(rows.map((row) => JSON.stringify([row.manipulation, row.seed])))];
        const cell = (row) => {
            if (!row)
                return el("td");
            const says = `${row.manipulation} at layer ${row.layer}: ${visible(row.answer)}, ${row.correct ? "right" : row.modified_correct ? "the donor's answer" : "wrong"}, rank ${row.rank}, KL ${row.kl?.toFixed(4) ?? "not finite"} nats`;
            return el("td", {}, button("", () => void this.again(variant, number, row), {
                title: says, "aria-label": says, class: row.correct ? "more" : row.modified_correct ? "donor" : "less", "data-layer-of": row.layer, "data-kl": row.kl,
            }));
        };
        this.opened.replaceChildren(el("h3", { dir: "auto" }, item.title), el("p", { class: "text prompt", dir: "auto" }, item.prompt), el("p", { class: "quiet" }, `Right: ${visible(item.answer)}${item.modified_answer ? `, the donor's: ${visible(item.modified_answer)}` : ""}. Clean: ${clean ? `${visible(clean.answer)}, ${clean.correct ? "right" : "wrong"}` : "not there yet"}. Blue: right, orange: wrong, green: the donor's answer. Click a cell to ask it again above.`), el("div", { class: "map" }, el("table", {}, el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "manipulation"), ...layers.map((layer) => el("th", { scope: "col", class: "number" }, String(layer))))), el("tbody", {}, ...names.map((name) => {
            const [manipulation, seed] = JSON.parse(name);
            const own = rows.filter((row) => row.manipulation === manipulation && row.seed === seed);
            return el("tr", {}, el("th", { scope: "row" }, manipulation + (seed === null ? "" : `, seed ${seed}`)), ...layers.map((layer) => cell(own.find((row) => row.layer === layer))));
        })))));
    }
    /** Asks a result again, of the model that it is of. */
    async again(variant, item, row) {
        this.problem.textContent = "";
        let [model, asked] = ["", null];
        const what = { run: this.run.id, variant, item, manipulation: row.manipulation, page: page + "-open" };
        try {
            await ask("/v1/open", what, new AbortController().signal, (line) => {
                if (line.type === "model")
                    model = line.name;
                else if (line.type === "asked")
                    asked = line;
                else if (line.type === "error")
                    this.problem.textContent = line.message;
            });
        }
        catch (error) {
            this.problem.textContent = String(error.message);
        }
        const of = asked;
        if (!of)
            return;
        change({
            prompt: of.prompt, ops: of.manipulate.map((kind) => ({ kind, on: true })), layer: row.layer, tokens: of.tokens, extent: of.extent, site: of.site,
            seed: String(row.seed ?? 1), answers: of.answer, donor: of.inject_from ?? "", at: of.inject_at ?? "", from: of.inject_from_at ?? "",
            models: model === models()[0]?.name ? [] : [model],
        });
        this.open();
    }
}
