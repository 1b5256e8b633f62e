// What came back for the question that is asked: kept until another is asked, so that moving a
// layer costs nothing. Each model that is shown has a column of its own.

import { ask, page, type Cell, type Served, type Token } from "./api.js";
import { prepared } from "./examples.js";
import { question, read, state, type State } from "./state.js";

export interface Results {
  key: string;
  tokens: Token[];
  clean: Cell | null;
  cells: Map<number, Cell>;
  /** The only run of a stack whose layers are all fixed. */
  fixed: Cell | null;
  layers: number[];
  noise: number | null;
  command: string;
  /** The same in Python. */
  python: string;
  error: string;
  done: boolean;
  /** Where numbers were prepared, and not computed now. */
  from: string | null;
}

export function none(key: string): Results {
  return {
    key, tokens: [], clean: null, cells: new Map(), fixed: null, layers: [], noise: null,
    command: "", python: "", error: "", done: false, from: null,
  };
}

export function isNoise(results: Results, cell: Cell | undefined | null): boolean {
  return !!cell && results.noise !== null && cell.kl <= results.noise;
}

/** The models that are served, once the first is there. */
let served: Served[] = [];

export function serve(models: Served[]): void {
  served = models;
}

export const models = (): Served[] => served;

/** The layer under the pointer, which is shown without being chosen; counted as the first column's. */
let preview: number | null = null;

/** Whether that is another one. */
export function look(layer: number | null): boolean {
  const before = preview;
  preview = layer;
  return before !== layer;
}

export class Column {
  results = none("");
  private kept = new Map<string, Results>();
  private running: AbortController | null = null;
  private timer = 0;

  constructor(readonly number: number) {}

  /** Whether it shows a state that was kept, and not the one that is changed. */
  get isKept(): boolean {
    return this.number > 0 && this.number === columns.length - 1 && state.kept !== "";
  }

  /** What it shows. */
  get state(): State {
    return this.isKept ? read(state.kept) ?? state : state;
  }

  /** Its model's name, where one is chosen or there. */
  get name(): string {
    if (this.isKept) return this.state.models[0] ?? served[0]?.name ?? "";
    return state.models[this.number] ?? (this.number === 0 ? served[0]?.name ?? "" : "");
  }

  get model(): Served | null {
    return served.find((one) => one.name === this.name) ?? null;
  }

  get ready(): boolean {
    return this.model?.state === "ready";
  }

  /** How many layers its model has, as far as that is known. */
  get layers(): number {
    return this.model?.layers ?? Math.max(0, ...this.results.layers.map((layer) => layer + 1));
  }

  /** Why there is nothing to ask. */
  get trouble(): string {
    if (served.length === 0) return "";
    if (!this.model) return `${this.name} is not served here; choose another model.`;
    return this.model.state === "failed" ? this.model.error ?? "it could not be loaded" : "";
  }

  /** A layer of the first column, here: as deep, where models have unlike many. */
  of(layer: number): number {
    return deep(layer, columns[0].layers, this.layers);
  }

  /** A layer of this column, in the first. */
  first(layer: number): number {
    return deep(layer, this.layers, columns[0].layers);
  }

  /** The layer that is shown: the one looked at, or where the first column's answer changes most. */
  get shown(): number | null {
    if (this.isKept && this.state.layer !== null) return this.state.layer;
    const layer = preview ?? chosen();
    return layer === null ? null : this.of(layer);
  }

  get cell(): Cell | null {
    const layer = this.shown;
    return this.results.fixed ?? (layer === null ? null : this.results.cells.get(layer) ?? null);
  }

  /** What its model is asked. Positions are those of the first column's tokens. */
  get asked(): Record<string, unknown> | null {
    const asked = question(this.state);
    if (!asked) return null;
    const first = columns[0];
    const others = asked.tokens !== undefined && !this.isKept && first.name !== this.name && first.ready;
    return { ...asked, model: this.name, ...(others ? { tokens_of: first.name } : {}) };
  }

  /** Forgets what it shows. */
  end(): void {
    clearTimeout(this.timer);
    this.running?.abort();
    this.running = null;
    this.results = none("");
  }

  /** Asks what the state asks, unless it is known. */
  refresh(told: () => void, wait = 0): void {
    const asked = this.asked;
    const key = JSON.stringify([asked, this.name]);
    const known = this.kept.get(key);
    if (key === this.results.key && (this.results.done || this.results.error || (this.running && !this.results.from))) return told();
    clearTimeout(this.timer);
    this.running?.abort();
    this.running = null;
    if (known) {
      this.results = known;
      return told();
    }
    const before = this.results.tokens;
    if (!asked) {
      this.results = { ...none(key), tokens: before };
      return told();
    }
    const ready_made = this.number === 0 ? prepared(JSON.stringify(question(this.state))) : null;
    if (ready_made) this.results = { ...ready_made, key };
    else if (this.results.key !== key) this.results = { ...none(key), tokens: before };
    told();
    if (this.ready) this.timer = setTimeout(() => void this.run(key, asked, told), wait);
  }

  private async run(key: string, asked: Record<string, unknown>, told: () => void): Promise<void> {
    const controller = new AbortController();
    this.running = controller;
    const fresh = none(key);
    let scheduled = false;
    const tell = () => {
      if (scheduled) return;
      scheduled = true;
      requestAnimationFrame(() => {
        scheduled = false;
        if (this.running === controller || fresh.done) told();
      });
    };
    try {
      await ask("/v1/try", { ...asked, page: `${page}-${this.number}` }, controller.signal, (line) => {
        if (this.running !== controller) return;
        switch (line.type) {
          case "meta":
            fresh.tokens = line.tokens;
            fresh.layers = line.layers.filter((layer): layer is number => layer !== null);
            fresh.command = line.command;
            fresh.python = line.python;
            break;
          case "cell":
            if (fresh.clean === null) fresh.clean = line;
            else if (line.layer === null) fresh.fixed = line;
            else fresh.cells.set(line.layer, line);
            break;
          case "noise":
            fresh.noise = line.kl;
            break;
          case "done":
            fresh.done = true;
            this.kept.set(key, fresh);
            if (this.kept.size > 50) this.kept.delete(this.kept.keys().next().value!);
            break;
          case "error":
            fresh.error = line.message;
            break;
        }
        if (fresh.tokens.length === 0) fresh.tokens = this.results.tokens;
        this.results = fresh;
        tell();
      });
      // What is refused has tokens, too: another one may be chosen.
      if (fresh.error && !fresh.command) await this.readTokens(fresh, asked, controller, tell);
    } catch (error) {
      if (controller.signal.aborted) return;
      fresh.error = "the server does not answer: " + (error as Error).message;
      fresh.tokens = this.results.tokens;
      this.results = fresh;
      tell();
    }
  }

  private async readTokens(fresh: Results, asked: Record<string, unknown>, controller: AbortController, tell: () => void): Promise<void> {
    const tokens: Token[] = [];
    const what = { prompt: asked.prompt, model: asked.model, page: `${page}-${this.number}` };
    await ask("/v1/tokens", what, controller.signal, (line) => {
      if (line.type === "token") tokens.push(line);
    });
    if (tokens.length === 0 || this.running !== controller) return;
    fresh.tokens = tokens;
    tell();
  }
}

function deep(layer: number, from: number, to: number): number {
  if (from === to || from < 2 || to < 1) return layer;
  return Math.round((layer * (to - 1)) / (from - 1));
}

export const columns: Column[] = [new Column(0)];

/** The layer that is chosen, or where the first column's answer changes most. */
export function chosen(): number | null {
  if (state.layer !== null) return state.layer;
  const cells = columns[0].results.cells;
  let best: number | null = null;
  for (const [layer, cell] of cells) {
    if (best === null || cell.kl > cells.get(best)!.kl) best = layer;
  }
  return best;
}

/** Has as many columns as the state names models, and one for a state that is kept. */
export function arrange(): void {
  const count = Math.max(1, state.models.length) + (state.kept ? 1 : 0);
  while (columns.length > count) columns.pop()!.end();
  while (columns.length < count) columns.push(new Column(columns.length));
}
