// The page: its parts, and what is shown when something changes.

import { ask, model as fetchModel, page, type Model, type Token } from "./api.js";
import { button, el, quoted, visible, within } from "./dom.js";
import { examples, load } from "./examples.js";
import { parts, Stack } from "./manipulations.js";
import { Maps } from "./maps.js";
import { arrange, columns, serve } from "./results.js";
import { change, onChange, question, state } from "./state.js";
import { Runs } from "./runs.js";
import { Chips, part, places, selector } from "./tokens.js";
import { beside, keep, showBeside, View } from "./view.js";

let model: Model | null = null;
/** No model is served, only runs. */
let alone = false;
let donorTokens: Token[] = [];
let donorAsked = "";

const status = el("p", { class: "status", role: "status" });
const prompt = el("textarea", { id: "prompt", rows: 4, dir: "auto", spellcheck: "false", input: () => change({ prompt: prompt.value }, false) });
const donor = el("textarea", { id: "donor", rows: 2, dir: "auto", spellcheck: "false", input: () => change({ donor: donor.value, from: "" }, false) });
const answers = el("ul", { class: "followed" });
const answer = el("input", {
  id: "answer", type: "text", dir: "auto", placeholder: "␣Paris: begin with a space", "aria-label": "another answer to follow",
  keydown: (event) => event.key === "Enter" && addAnswer(),
});
const stack = new Stack();
const maps = new Maps(columns[0]);
const tops = el("div");
const views = el("div", { class: "beside" });
let all: View[] = [];
const runs = new Runs(() => halves.scrollIntoView({ block: "start" }));
const tabs = el("nav", { class: "examples", "aria-label": "examples" });
const extent = select("extent", ["paper", "from", "only", "window:3"], () => state.extent, (value) => change({ extent: value }),
  "paper: as the paper does it; from: from the layer up; only: at the layer alone; window: at so many layers");
const site = select("site", ["residual", "k", "v", "kv"], () => state.site, (value) => change({ site: value }),
  "residual: the states that enter the layer; k, v, kv: keys and values in the cache");
const seed = el("input", { type: "number", min: 0, "aria-label": "seed", change: () => change({ seed: seed.value || "1" }) });
const whole = button("all prior tokens", () => change({ tokens: "prior" }));
const subject = button("", () => change({ tokens: selector(named()) }), { title: "what the prompt is about: the part that inject replaces" });

function select(name: string, values: string[], get: () => string, put: (value: string) => void, title: string) {
  const element = el("select", { "aria-label": name, title, change: () => put(element.value) });
  return {
    label: el("label", { title }, name, element),
    show() {
      const all = values.includes(get()) ? values : [...values, get()];
      element.replaceChildren(...all.map((value) => el("option", { selected: value === get() }, value)));
    },
  };
}

function injects(): boolean {
  return state.ops.some((op) => op.on && parts(op.kind).name === "inject");
}

function prior(tokens: Token[]): number[] {
  return tokens.filter((t) => t.prior).map((t) => t.position);
}

/** The tokens that the prompt is about. */
function named(): number[] {
  const { tokens } = columns[0].results;
  return [...places(tokens, state.at)].filter((at) => tokens[at].prior);
}

/** Which of the prompt's tokens are acted on. */
function acted(): Set<number> {
  const results = columns[0].results;
  if (injects()) return places(results.tokens, state.at);
  if (state.tokens === "prior") return new Set(prior(results.tokens));
  return new Set(results.tokens.filter((t) => t.selected).map((t) => t.position));
}

const chips = new Chips("tokens of the prompt: choose which are manipulated", (positions, add) => {
  const results = columns[0].results;
  if (injects()) return change({ at: part(results.tokens, positions[0], positions.at(-1)!) });
  // The first click among all chooses one; further ones add and take away.
  let chosen = new Set(state.tokens === "prior" ? [] : acted());
  for (const p of positions) if (add && chosen.has(p)) chosen.delete(p); else chosen.add(p);
  const sorted = [...chosen].filter((p) => results.tokens[p]?.prior).sort((a, b) => a - b);
  change({ tokens: sorted.length ? selector(sorted) : "prior" });
});
const donorChips = new Chips("tokens of the donor prompt: click one, or drag it onto a token of the prompt",
  ([first]) => change({ from: part(donorTokens, first, first) }),
  (from, to) => change({ from: part(donorTokens, from, from), at: part(columns[0].results.tokens, to, to) }));
const donorPart = el("div", { class: "donor" },
  el("label", { for: "donor" }, "Donor prompt, whose states are put in"), donor, donorChips.element,
  el("p", { class: "quiet" }, "Its last tokens are taken unless you choose one: click it, or drag it onto a token of the prompt."));

function addAnswer(): void {
  const text = answer.value.replace(/^␣/, " ");
  answer.value = "";
  if (text && !state.answers.includes(text)) change({ answers: [...state.answers, text] });
}

async function tokensOfDonor(): Promise<void> {
  if (!model || donorAsked === state.donor || !state.donor || !injects()) return;
  const asked = (donorAsked = state.donor);
  const found: Token[] = [];
  await ask("/v1/tokens", { prompt: asked, model: columns[0].name, page: page + "-donor" }, new AbortController().signal, (line) => {
    if (line.type === "token") found.push(line);
  });
  if (donorAsked === asked) {
    donorTokens = found;
    show();
  }
}

function show(): void {
  const results = columns[0].results;
  maps.element.hidden = !columns[0].ready;
  maps.forget();
  if (document.activeElement !== prompt && prompt.value !== state.prompt) prompt.value = state.prompt;
  if (document.activeElement !== donor && donor.value !== state.donor) donor.value = state.donor;
  if (document.activeElement !== seed) seed.value = state.seed;
  extent.show();
  site.show();
  stack.show(model?.manipulations ?? []);
  const on = acted();
  chips.show(results.tokens, (t) => on.has(t.position), true);
  whole.hidden = injects() || state.tokens === "prior";
  const about = named();
  subject.hidden = injects() || about.length === 0 || state.tokens === selector(about);
  subject.replaceChildren("only ", within(about.map((at) => results.tokens[at].text).join("")));
  donorPart.hidden = !injects();
  const taken = places(donorTokens, state.from);
  const last = donorTokens.length - on.size;
  donorChips.show(donorTokens, (t) => (state.from ? taken.has(t.position) : t.position >= last), false);
  answers.replaceChildren(...state.answers.map((text) => el("li", {}, quoted(text),
    button("×", () => change({ answers: state.answers.filter((a) => a !== text) }), { "aria-label": `stop following ${visible(text)}` }))));
  if (all.length !== columns.length) {
    all = columns.map((column, n) => all[n] ?? new View(column, show));
    tops.replaceChildren(...all.map((view) => view.top));
    views.replaceChildren(...all.map((view) => view.element));
  }
  all.forEach((view) => view.show());
  showBeside();
  const waits = ({ results }: { results: typeof columns[0]["results"] }) => !results.done && !results.error && !results.from;
  document.body.classList.toggle("busy", columns.some((column) => !column.trouble && waits(column)));
  const done = results.cells.size + (results.fixed ? 1 : 0);
  status.textContent = alone ? "Stored runs. No model is served (-m)." : results.from
    ? `${model ? "" : "The model is loading. "}Shown: a result prepared with ${results.from}.`
    : !model ? "The model is loading." : `${columns[0].name}, ${columns[0].layers} layers. ${results.done ? "" : `${done} of ${results.layers.length || "…"} layers there.`}`;
  [...tabs.children].forEach((tab, n) => {
    const same = JSON.stringify(question(examples[n].state)) === JSON.stringify(question(state));
    tab.setAttribute("aria-pressed", String(same));
  });
  runs.show();
  void tokensOfDonor();
}

tabs.append(...examples.map((example) => button(example.name, () => change({ ...example.state, layer: null, models: state.models, run: state.run, kept: state.kept }))));
const halves = el("div", { class: "halves" },
    el("section", { class: "ask" },
      el("label", { for: "prompt" }, "Prompt"), prompt, chips.element, el("div", { class: "settings" }, whole, subject),
      el("h2", {}, "What is done to these tokens"), stack.element,
      el("div", { class: "settings" }, button("+ another", () => change({ ops: [...state.ops, { kind: "freeze", on: true }] }))),
      el("div", { class: "settings" },
        extent.label, site.label, el("label", { title: "of random and shuffle" }, "seed", seed)),
      donorPart,
      el("h2", {}, "Answers that are followed"), answers,
      el("div", { class: "settings" }, answer, button("follow", addAnswer))),
    el("section", { class: "see" },
      el("h2", {}, "Layer"),
      el("p", { class: "quiet" }, "Click a slot, drag over several, use the arrow keys; hover to look. Grey and ≈: no more than rounding."),
      tops, el("div", { class: "settings" }, beside, keep), views, maps.element));
document.getElementById("page")!.append(el("header", {}, el("h1", {}, "midlayer"), status), tabs, halves, runs.element);

/** Asks what there is to ask, for every model that is shown. */
function refresh(wait = 0): void {
  arrange();
  columns.forEach((column) => column.refresh(show, wait));
}

onChange(() => refresh(document.activeElement === prompt || document.activeElement === donor ? 250 : 0));
refresh();
load().then(() => refresh()).catch(() => undefined);

/** Looks for models until all are there. */
async function wait(): Promise<void> {
  let seen = false;
  for (;;) {
    try {
      const known = await fetchModel();
      if (known.runs && !seen) {
        seen = true;
        runs.begin(known.state === "none");
      }
      if (known.state === "none") {
        alone = tabs.hidden = halves.hidden = true;
        return show();
      }
      if (known.state === "ready") {
        model = known;
        serve(known.models);
        refresh();
        if (known.models.every((one) => one.state !== "loading")) return;
      }
    } catch (error) {
      status.textContent = String((error as Error).message);
    }
    await new Promise((wake) => setTimeout(wake, model ? 500 : 150));
  }
}
void wait();
