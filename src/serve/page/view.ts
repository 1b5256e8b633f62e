// What one model says: its slots and curve, clean beside manipulated, both continuations.

import { ask, page } from "./api.js";
import { compare, csv, settles } from "./compare.js";
import { button, choice, direction, el, save, say, visible } from "./dom.js";
import { notebook, picture, png } from "./export.js";
import { Layers } from "./layers.js";
import { columns, models, type Column } from "./results.js";
import { change, COLUMNS, question, read, state, written } from "./state.js";

/** Shows other models from here on; none named is the first alone. */
function show(names: string[]): void {
  const only = names.length === 1 && names[0] === models()[0]?.name;
  change({ models: only ? [] : names });
}

function names(): string[] {
  return columns.filter((column) => !column.isKept).map((column) => column.name);
}

/** A button that puts another model beside those that are shown. */
export const beside = button("+ another model beside it", () => {
  const free = models().find((model) => !names().includes(model.name));
  show([...names(), (free ?? models()[0]).name]);
});

/** A button that keeps what is shown beside what comes. */
export const keep = button("keep this beside what comes", () => change({ kept: written({ ...state, kept: "", run: "" }) }));

export function showBeside(): void {
  keep.hidden = state.kept !== "" || !columns[0].results.clean;
  beside.hidden = models().length < 2 || names().length >= Math.min(COLUMNS, models().length);
}

export class View {
  /** Slots and curve. */
  readonly top: HTMLElement;
  /** What is said of the layer that is shown. */
  readonly element: HTMLElement;
  private layers: Layers;
  private head = el("div", { class: "settings model" });
  private says = el("span", { class: "quiet", role: "status" });
  private tokens = el("p", { class: "chips others" });
  private title = el("h2");
  private problem = el("p", { class: "problem", role: "alert" });
  private settled = el("p", { class: "settled" });
  private sentence = el("p", { class: "sentence", "aria-live": "polite" });
  private body = el("div", { class: "body" });
  private continued = el("div", { class: "columns", "aria-live": "polite" });
  private more = button("continue both by 24 tokens", () => void this.goOn());
  private continuing: AbortController | null = null;
  private continuedFor = "";
  private command = el("code", { class: "command", tabindex: 0, "aria-label": "the command that prints these numbers" });
  private copied = el("span", { class: "quiet", role: "status" });
  private copy = button("copy as command", () => void this.copyCommand());
  private json = button("JSON", () => this.saveJson());
  private table = button("CSV", () => save("midlayer.csv", "text/csv", csv(this.column.results)));
  private plan = button("plan", () => void this.savePlan(), { title: "of the layer that is shown: midlayer attach carries it out in another program" });
  private drawn = [
    button("PNG", () => void png(this.picture())),
    button("SVG", () => save("midlayer.svg", "image/svg+xml", this.picture())),
  ];
  private notebook = button("notebook", () => save("midlayer.ipynb", "application/json", notebook(this.column.results)), { title: "the same numbers with the Python package" });
  private chosenOf = "";

  constructor(readonly column: Column, told: () => void) {
    this.layers = new Layers(column, told);
    this.top = el("div", { class: "one" }, this.head, this.tokens, this.layers.element, this.settled);
    this.element = el("section", { class: "one", "aria-label": "what the model says" },
      this.title, this.problem, this.sentence, this.body,
      el("div", { class: "settings" }, this.more), this.continued,
      el("div", { class: "settings take" }, this.copy, this.copied, el("span", { class: "quiet" }, "save"), this.json, this.table, ...this.drawn, this.plan, this.notebook),
      el("p", {}, this.command));
  }

  private name(layer: number | null): string {
    const own = this.column.state;
    const on = own.ops.filter((op) => op.on).map((op) => op.kind).join(" + ");
    const width = /^window:(\d+)$/.exec(own.extent);
    if (layer === null || !on) return on;
    return width && Number(width[1]) > 1 ? `${on} at layers ${layer} to ${layer + Number(width[1]) - 1}` : `${on} at layer ${layer}`;
  }

  /** Both texts, token by token; the first one that differs is marked. */
  private async goOn(): Promise<void> {
    const asked = this.column.asked;
    const layer = this.column.shown;
    if (!asked || (layer === null && !this.column.results.fixed)) return;
    this.continuing?.abort();
    const controller = (this.continuing = new AbortController());
    this.continuedFor = this.key();
    const texts = new Map<string, HTMLElement>();
    const continued = this.continued;
    continued.replaceChildren();
    const what = { ...asked, layers: String(layer ?? 0), generate: 24, page: `${page}-${this.column.number}` };
    try {
      await ask("/v1/generate", what, controller.signal, (line) => {
        if (line.type === "error") return void continued.append(el("p", { class: "problem" }, line.message));
        if (line.type !== "text" || controller.signal.aborted) return;
        if (!texts.has(line.run)) {
          const text = el("p", { class: "text", dir: "auto" });
          texts.set(line.run, text);
          continued.append(el("section", { class: "column" }, el("h3", {}, line.run), text));
        }
        texts.get(line.run)!.append(line.differs ? el("mark", { title: "the first token that differs" }, line.text) : line.text);
      });
    } catch (error) {
      if (!controller.signal.aborted) continued.append(el("p", { class: "problem" }, String((error as Error).message)));
    }
  }

  private key(): string {
    return JSON.stringify([this.column.asked, this.column.shown]);
  }

  private async copyCommand(): Promise<void> {
    try {
      await navigator.clipboard.writeText(this.column.results.command);
      this.copied.textContent = "copied";
    } catch {
      getSelection()?.selectAllChildren(this.command);
      this.copied.textContent = "selected: copy it with the keyboard";
    }
  }

  private picture(): string {
    return picture(this.column, this.name(null));
  }

  private async savePlan(): Promise<void> {
    const layer = this.column.shown;
    const what = { ...this.column.asked, layers: String(layer ?? 0), page: `${page}-${this.column.number}` };
    try {
      await ask("/v1/plan", what, new AbortController().signal, (line) => {
        if (line.type === "plan") save("midlayer-plan.json", "application/json", line.text);
        else if (line.type === "error") this.copied.textContent = line.message;
      });
    } catch (error) {
      this.copied.textContent = String((error as Error).message);
    }
  }

  private saveJson(): void {
    const results = this.column.results;
    const cells = [results.clean, results.fixed, ...results.cells.values()].filter((cell) => cell !== null);
    const all = { version: 1, model: this.column.name, question: question(this.column.state), command: results.command, noise: results.noise, cells };
    save("midlayer.json", "application/json", JSON.stringify(all, null, 1));
  }

  /** Which model it is, where there are several; and the prompt's tokens, where they are not the first's. */
  private showModel(): void {
    const { column } = this;
    const all = models().map((model) => model.name);
    const several = all.length > 1 || columns.length > 1 || column.trouble !== "";
    this.head.hidden = !several;
    const key = JSON.stringify([all, names(), column.number, column.isKept && state.kept]);
    if (key !== this.chosenOf && column.isKept) {
      this.chosenOf = key;
      const kept = read(state.kept);
      this.head.replaceChildren(
        el("span", {}, "Kept: ", el("bdi", { class: "token" }, visible(column.state.prompt.slice(-60))), `, ${column.name}`),
        button("change places", () => kept && change({ ...kept, run: state.run, kept: written({ ...state, kept: "", run: "" }) })),
        button("×", () => change({ kept: "" }), { "aria-label": "do not show what was kept" }),
        this.says);
    } else if (key !== this.chosenOf) {
      this.chosenOf = key;
      const offered = all.includes(column.name) ? all : [column.name, ...all];
      this.head.replaceChildren(
        choice(`model ${column.number + 1}`, offered, column.name, (name) => show(names().map((old, n) => (n === column.number ? name : old)))),
        ...(names().length > 1 ? [button("×", () => show(names().filter((_, n) => n !== column.number)), { "aria-label": `do not show ${column.name}` })] : []),
        this.says);
    }
    const results = column.results;
    const there = results.cells.size + (results.fixed ? 1 : 0);
    const noise = results.noise === null ? "" : results.noise ? `, rounding (≈) up to KL ${results.noise.toPrecision(2)} nats` : ", rounding changes nothing";
    this.says.textContent = column.trouble ? ""
      : !column.ready ? "loading …"
      : `${column.layers} layers${results.done ? noise : `, ${there} of ${results.layers.length || "…"} there`}`;
    const first = columns[0].results.tokens;
    const same = column.number === 0 || first.length === 0 || (first.length === results.tokens.length && first.every((token, n) => token.text === results.tokens[n].text && token.id === results.tokens[n].id));
    this.tokens.hidden = same;
    this.tokens.dir = direction(results.tokens.map((token) => token.text));
    this.tokens.replaceChildren(...(same ? [] : results.tokens.map((token) =>
      el("span", { class: "chip" + (token.selected ? " on" : ""), title: `position ${token.position}, id ${token.id}` }, el("bdi", {}, visible(token.text))))));
  }

  show(): void {
    const { column } = this;
    const results = column.results;
    if (this.continuedFor && this.continuedFor !== this.key()) {
      this.continuedFor = "";
      this.continuing?.abort();
      this.continued.replaceChildren();
    }
    this.showModel();
    this.more.disabled = !column.ready || !results.done;
    this.layers.show(column.layers);
    const layer = results.fixed ? null : column.shown;
    const made = compare(results, column.cell, this.name(layer));
    this.title.textContent = columns.length > 1 ? (column.isKept ? "kept: " : "") + column.name : "";
    this.title.hidden = columns.length < 2;
    this.body.replaceChildren(...made.body);
    say(this.sentence, made.sentence);
    say(this.settled, settles(results));
    const replaced = /is not in the prompt|times in the prompt/.test(results.error) ? " Click the token that is to be replaced." : "";
    this.problem.textContent = column.trouble || (results.error && results.error + replaced) || (question(column.state) ? "" : state.prompt ? "Switch a manipulation on." : "Type a prompt.");
    this.command.textContent = results.command;
    for (const one of [this.copy, this.json, this.table, ...this.drawn]) one.disabled = !results.command;
    this.plan.disabled = !column.ready || !results.done;
    this.notebook.disabled = !results.python;
  }
}
