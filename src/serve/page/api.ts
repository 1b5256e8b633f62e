// The server's answers, and how they are asked for.

export interface Token { position: number; id: number; text: string; prior: boolean; selected?: boolean }
export interface Likely { id?: number; text: string; probability: number }
export interface Followed { text: string; probability: number; rank: number; tokens?: unknown[] }
export interface Cell {
  manipulation: string;
  layer: number | null;
  kl: number;
  argmax: Likely;
  answers: Followed[];
  top: Likely[];
  prompt?: { text: string; tokens: Token[] };
}
export interface Parameter { name: string; sentence: string; value: number | string; words: string[] | null }
export interface Manipulation {
  name: string;
  sentence: string;
  first_layer: number;
  has_seed: boolean;
  needs_donor: boolean;
  parameters: Parameter[];
}
/** One of the models that are served. */
export interface Served {
  number: number;
  name: string;
  state: "loading" | "ready" | "failed";
  error?: string;
  layers?: number;
}
export interface Model { state: string; model: string; layers: number; manipulations: Manipulation[]; models: Served[]; runs: boolean }
export type Line =
  | { type: "meta"; tokens: Token[]; layers: (number | null)[]; command: string; python: string; runs: number }
  | ({ type: "cell" } & Cell)
  | ({ type: "token" } & Token)
  | { type: "text"; run: string; step: number; id: number; text: string; differs: boolean }
  | { type: "noise"; kl: number; logit: number }
  | { type: "progress"; done: number; all: number }
  | { type: "state" }
  | { type: "model"; name: string }
  | { type: "asked" }
  | { type: "plan"; text: string }
  | { type: "done" }
  | { type: "error"; code: string; message: string };

export const page = Math.random().toString(36).slice(2);

/** Where others can connect, the address holds a token; it is kept for this tab and taken out of sight. */
function secret(): string | null {
  const hash = new URLSearchParams(location.hash.slice(1));
  const token = hash.get("token");
  if (token) {
    sessionStorage.setItem("token", token);
    hash.delete("token");
    history.replaceState(null, "", "#" + hash.toString());
  }
  return sessionStorage.getItem("token");
}
const token = secret();

function headers(): Record<string, string> {
  const all: Record<string, string> = { "Content-Type": "application/json" };
  if (token) all["Authorization"] = "Bearer " + token;
  return all;
}

/** Fetches what is known. A busy server is asked again when it says so. */
export async function get(path: string): Promise<unknown> {
  for (;;) {
    const answer = await fetch(path, { headers: headers() });
    if (answer.status === 429) {
      await new Promise((wake) => setTimeout(wake, 1000 * Number(answer.headers.get("Retry-After") ?? 1)));
      continue;
    }
    const known = await answer.json();
    if (!answer.ok) throw new Error(known.message);
    return known;
  }
}

export async function model(): Promise<Model> {
  return await get("/v1/model") as Model;
}

/** Asks, and hands over line by line. Busy servers are asked again when they say so. */
export async function ask(path: string, what: object, signal: AbortSignal, take: (line: Line) => void): Promise<void> {
  for (;;) {
    const answer = await fetch(path, { method: "POST", headers: headers(), body: JSON.stringify(what), signal });
    if (answer.status === 429) {
      const seconds = Number(answer.headers.get("Retry-After") ?? 1);
      await new Promise((wake) => setTimeout(wake, 1000 * seconds));
      if (signal.aborted) return;
      continue;
    }
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop()!;
      for (const line of lines) take(JSON.parse(line));
    }
  }
}
