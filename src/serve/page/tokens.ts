// Tokens as chips: which are manipulated, chosen by clicking and dragging.

import type { Token } from "./api.js";
import { direction, el, visible } from "./dom.js";
import { carries } from "./drag.js";

/** Positions as a selector: 3-7,9. */
export function selector(positions: number[]): string {
  const parts: string[] = [];
  for (let i = 0; i < positions.length; i++) {
    const start = positions[i];
    while (i + 1 < positions.length && positions[i + 1] === positions[i] + 1) i++;
    parts.push(start === positions[i] ? `${start}` : `${start}-${positions[i]}`);
  }
  return parts.join(",");
}

/** A run of tokens as a part of a text: ` France`, or `#2: France` where it is the second. */
export function part(tokens: Token[], first: number, last: number): string {
  const text = tokens.slice(first, last + 1).map((t) => t.text).join("");
  let number = 0, count = 0;
  for (let start = 0; start < tokens.length; start++) {
    let joined = "";
    for (let end = start; end < tokens.length && joined.length < text.length; end++) {
      joined += tokens[end].text;
      if (joined === text) {
        count++;
        if (start === first) number = count;
      }
    }
  }
  if (count > 1) return `#${number}:${text}`;
  return text.startsWith("#") ? "\\" + text : text;
}

/** The tokens that a part names. */
export function places(tokens: Token[], part: string): Set<number> {
  const marked = /^#(\d+|all):([^]*)$/.exec(part);
  const text = marked ? marked[2] : part.replace(/^\\#/, "#");
  const found: number[][] = [];
  for (let start = 0; text && start < tokens.length; start++) {
    let joined = "";
    for (let end = start; end < tokens.length && joined.length < text.length; end++) {
      joined += tokens[end].text;
      if (joined === text) found.push(Array.from({ length: end - start + 1 }, (_, i) => start + i));
    }
  }
  const chosen = !marked || marked[1] === "all" ? found : found.slice(Number(marked[1]) - 1, Number(marked[1]));
  return new Set(chosen.flat());
}

/** A row of chips. `chosen` is told the tokens that were clicked or dragged over. Chips that can be
 * carried onto those of the prompt are clicked only; `carried` is told from where to where. */
export class Chips {
  readonly element: HTMLElement;
  private tokens: Token[] = [];
  private key = "";
  private from: number | null = null;
  private to = 0;

  constructor(label: string, private chosen: (positions: number[], add: boolean) => void, private carried: ((from: number, to: number) => void) | null = null) {
    this.element = el("div", { class: "chips", role: "group", "aria-label": label });
    const end = () => {
      if (this.from === null) return;
      const [a, b] = [Math.min(this.from, this.to), Math.max(this.from, this.to)];
      this.from = null;
      this.mark();
      const positions = [];
      for (let p = a; p <= b; p++) positions.push(p);
      this.chosen(positions, a === b);
    };
    addEventListener("pointerup", end);
    addEventListener("pointercancel", () => { this.from = null; this.mark(); });
    this.element.addEventListener("pointerover", (event) => {
      const at = this.position(event);
      if (this.from === null || at === null) return;
      this.to = at;
      this.mark();
    });
  }

  private position(event: Event): number | null {
    const chip = (event.target as Element).closest<HTMLElement>("[data-position]");
    return chip ? Number(chip.dataset.position) : null;
  }

  private mark(): void {
    const [a, b] = [Math.min(this.from ?? 0, this.to), Math.max(this.from ?? -1, this.to)];
    for (const chip of this.element.children) {
      const p = Number((chip as HTMLElement).dataset.position);
      chip.classList.toggle("dragged", this.from !== null && p >= a && p <= b);
    }
  }

  show(tokens: Token[], selected: (token: Token) => boolean, last: boolean): void {
    const key = tokens.map((t) => t.id + t.text).join("\u0001");
    if (key !== this.key) {
      this.key = key;
      this.tokens = tokens;
      this.element.dir = direction(tokens.map((token) => token.text));
      this.element.replaceChildren(...tokens.map((token) => this.chip(token, last)));
    }
    [...this.element.children].forEach((chip, n) => {
      const on = selected(tokens[n]);
      chip.classList.toggle("on", on);
      chip.setAttribute("aria-pressed", String(on));
    });
  }

  private chip(token: Token, last: boolean): HTMLElement {
    const fixed = last && !token.prior;
    const title = `position ${token.position}, id ${token.id}` + (fixed ? ": the last token is never manipulated" : "");
    const chip = el("button", {
      type: "button", class: "chip" + (fixed ? " last" : ""), title, "data-position": token.position,
      "aria-label": `${visible(token.text)}, ${title}`,
      "aria-disabled": fixed && "true",
    }, el("bdi", {}, visible(token.text)));
    if (fixed) return chip;
    chip.addEventListener("pointerdown", (event) => {
      if (this.carried || event.button !== 0) return;
      chip.releasePointerCapture?.(event.pointerId);
      this.from = this.to = token.position;
      this.mark();
    });
    chip.addEventListener("click", (event) => {
      // The keyboard clicks without a pointer; a chip that can be carried away is clicked only.
      if (event.detail === 0 || this.carried) this.chosen([token.position], true);
    });
    const carried = this.carried;
    if (carried) carries(chip, ".ask > .chips .chip:not(.last)", (target) => carried(token.position, Number(target.dataset.position)));
    return chip;
  }

  get all(): Token[] {
    return this.tokens;
  }
}
