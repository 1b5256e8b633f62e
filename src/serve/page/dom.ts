// Elements. What comes from elsewhere is text, never markup.

type Child = Node | string | null;
type Attributes = Record<string, string | number | boolean | ((event: any) => void) | null>;

function fill(element: Element, attributes: Attributes, children: Child[]): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === null || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) if (child !== null) element.append(child);
}

export function el<K extends keyof HTMLElementTagNameMap>(
  name: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(name);
  fill(element, attributes, children);
  return element;
}

export function svg(name: string, attributes: Attributes = {}, ...children: Child[]): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  fill(element, attributes, children);
  return element;
}

const UNSEEN = /[\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u200b-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufe00-\ufe0f\ufeff]/g;

/** A token's text as people tell it apart from others: what is not seen has a mark or its number. */
export function visible(text: string): string {
  return text.replace(/^ | $/g, "␣").replace(/\n/g, "↵").replace(/\t/g, "⇥")
    .replace(UNSEEN, (one) => `<U+${one.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}>`)
    // An accent alone stands on a circle.
    .replace(/^\p{M}/u, "\u25cc$&");
}

/** The same within a sentence, which its direction does not turn around. */
export function within(text: string): HTMLElement {
  return el("bdi", {}, visible(text));
}

/** Says something anew where it is another thing than before. */
export function say(element: HTMLElement, parts: (string | Node)[]): void {
  const made = el("p", {}, ...parts);
  if (made.textContent !== element.textContent) element.replaceChildren(...made.childNodes);
}

/** The direction in which tokens are read: that of their first letter. */
export function direction(texts: string[]): "rtl" | "ltr" {
  const letter = /\p{L}/u.exec(texts.join("").replace(/<[0-9A-F]{2}>/g, ""));
  return letter && /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]/.test(letter[0]) ? "rtl" : "ltr";
}

/** A probability in percent, as midlayer try prints it. */
export function percent(probability: number): string {
  const p = 100 * probability;
  return p > 0 && p < 0.005 ? p.toExponential(0).replace("+", "") : p.toFixed(2);
}

/** Text in quotes that keeps its own direction. */
export function quoted(text: string): HTMLElement {
  return el("bdi", { class: "token", title: text.length > 14 ? visible(text) : null }, visible(text));
}

export function button(text: string, act: () => void, attributes: Attributes = {}): HTMLButtonElement {
  return el("button", { type: "button", click: act, ...attributes }, text);
}

/** A choice among texts. */
export function choice(label: string, values: string[], chosen: string, put: (value: string) => void): HTMLSelectElement {
  return el("select", { "aria-label": label, change: (event) => put(event.target.value) },
    ...values.map((value) => el("option", { selected: value === chosen }, value)));
}

/** Saves text as a file. */
export function save(name: string, type: string, text: string | Blob): void {
  const url = URL.createObjectURL(text instanceof Blob ? text : new Blob([text], { type }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
