// A number for each token and layer: which state matters, or what the model would say of it.

import { ask, page, type Line } from "./api.js";
import { button, el, percent, quoted, visible } from "./dom.js";
import type { Column } from "./results.js";
import { change, state } from "./state.js";

interface Row {
  position: number;
  text: string;
  layer: number;
  value?: number | null;
  floor?: number;
  top_text?: string;
  top_logprob?: number;
  stays?: boolean;
}

const NOISE = "random";

export class Maps {
  readonly element: HTMLElement;
  private says = el("p", { class: "quiet", role: "status" });
  private grid = el("div", { class: "map" });
  private command = el("code", { class: "command" });
  private running: AbortController | null = null;
  private shownFor = "";

  constructor(private column: Column) {
    this.element = el("section", { "aria-label": "maps" },
      el("h2", {}, "Maps"),
      el("div", { class: "settings" },
        button("which state matters", () => void this.draw(false)),
        button("logit lens", () => void this.draw(true))),
      this.says, this.grid, el("p", {}, this.command));
  }

  private key(): string {
    return this.column.name + "\u0001" + state.prompt;
  }

  /** A map of another prompt or model goes. */
  forget(): void {
    if (!this.shownFor || this.shownFor === this.key()) return;
    this.shownFor = "";
    this.running?.abort();
    this.says.textContent = this.command.textContent = "";
    this.grid.replaceChildren();
  }

  private async draw(lens: boolean): Promise<void> {
    this.running?.abort();
    const controller = (this.running = new AbortController());
    this.shownFor = this.key();
    this.grid.replaceChildren();
    this.says.textContent = "computing …";
    const answer = state.answers[0];
    const what = lens ? { prompt: state.prompt, lens } : { prompt: state.prompt, manipulate: NOISE, ...(answer ? { answer } : {}) };
    const rows: Row[] = [];
    const take = (line: Line) => {
      if (controller.signal.aborted) return;
      if (line.type === "meta") this.command.textContent = line.command;
      else if (line.type === "progress") this.says.textContent = `${line.done} of ${line.all} ${lens ? "layers" : "runs"}`;
      else if (line.type === "state") rows.push(line as unknown as Row);
      else if (line.type === "error") this.says.textContent = line.message;
      else if (line.type === "done") this.show(rows, lens, answer);
    };
    try {
      await ask("/v1/map", { ...what, model: this.column.name, page: page + "-map" }, controller.signal, take);
    } catch (error) {
      if (!controller.signal.aborted) this.says.textContent = String((error as Error).message);
    }
  }

  private show(rows: Row[], lens: boolean, answer: string | undefined): void {
    const floor = rows[0]?.floor ?? 0;
    this.says.textContent = lens
      ? "What the model's head says of each token's state where it enters each layer. Framed: the model's own prediction, from where it stays; the last column says from which layer. Click a cell for its layer."
      : `Noise in one state: how much the log-probability of ${answer ? visible(answer) : "the likeliest token"} changes (orange: less likely, blue: more). Grey: no more than rounding (${floor.toPrecision(2)}). Click a cell to put noise there alone.`;
    const layers = [...new Set(rows.map((row) => row.layer))].sort((a, b) => a - b);
    const most = Math.max(1e-9, ...rows.map((row) => Math.abs(row.value ?? 0)));
    const positions = [...new Set(rows.map((row) => row.position))];
    const head = el("tr", {}, el("th", { scope: "col" }, "token"), ...layers.map((layer) =>
      el("th", { scope: "col", class: "number" }, this.layer(layer))), lens ? el("th", { scope: "col" }, "stays from") : null);
    const lines = positions.map((position) => {
      const own = rows.filter((row) => row.position === position).sort((a, b) => a.layer - b.layer);
      return el("tr", {}, el("th", { scope: "row" }, quoted(own[0].text)), ...own.map((row) => lens ? this.said(row) : this.effect(row, most, floor)),
        lens ? el("td", { class: "number" }, this.layer(own.find((row) => row.stays)!.layer)) : null);
    });
    this.grid.replaceChildren(el("table", { class: lens ? "lens" : "effect" }, el("thead", {}, head), el("tbody", {}, ...lines)));
  }

  private layer(layer: number): string {
    return layer === this.column.layers ? "out" : String(layer);
  }

  private effect(row: Row, most: number, floor: number): HTMLElement {
    const value = row.value;
    const none = value === null || value === undefined || Math.abs(value) <= floor;
    const says = `${visible(row.text)} at layer ${row.layer}: ${value === null || value === undefined ? "not defined" : none ? "≈ 0" : value.toFixed(4)}`;
    const cell = el("button", {
      type: "button", title: says, "aria-label": says, "data-value": value ?? null,
      click: () => change({ ops: [{ kind: NOISE, on: true }], tokens: String(row.position), layer: row.layer, extent: "only", site: "residual" }),
    });
    if (none) cell.className = "none";
    else {
      cell.className = value! < 0 ? "less" : "more";
      // A floor, so that what is not zero is seen.
      cell.style.opacity = String(0.12 + 0.88 * Math.sqrt(Math.abs(value!) / most));
    }
    return el("td", {}, cell);
  }

  private said(row: Row): HTMLElement {
    const p = Math.exp(row.top_logprob ?? 0);
    const says = `${visible(row.text)} at layer ${row.layer}: ${visible(row.top_text ?? "")} ${percent(p)}%`;
    const cell = el("button", {
      type: "button", title: says, "aria-label": says, class: row.stays ? "stays" : "",
      click: () => change({ layer: Math.min(row.layer, this.column.layers - 1) }),
    }, el("bdi", {}, visible(row.top_text ?? "")));
    cell.style.setProperty("--p", String(p));
    return el("td", {}, cell);
  }
}
