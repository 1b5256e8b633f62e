// What the page shows, as its address says it. Every state has an address, and an address is a
// whole state: nothing is kept by the server.
export const first = {
    prompt: "Q: What is the capital of Spain?\nA: Madrid\nQ: What is the capital of France?\nA:",
    ops: [{ kind: "inject", on: true }],
    layer: null,
    tokens: "prior",
    answers: [" Paris", " Rome"],
    extent: "paper",
    site: "residual",
    seed: "1",
    donor: "The country Italy",
    at: " France",
    from: "",
    models: [],
    run: "",
    kept: "",
};
/** Models beside each other at most. */
export const COLUMNS = 4;
const TEXTS = ["prompt", "tokens", "extent", "site", "seed", "donor", "at", "from", "run", "kept"];
const PLAIN = { ...first, prompt: "", ops: [], answers: [], donor: "", at: "" };
export function written(state) {
    const hash = new URLSearchParams();
    for (const name of TEXTS)
        if (state[name] !== PLAIN[name])
            hash.set(name, state[name]);
    for (const op of state.ops)
        hash.append(op.on ? "do" : "off", op.kind);
    for (const answer of state.answers)
        hash.append("answer", answer);
    if (state.layer !== null)
        hash.set("layer", String(state.layer));
    for (const model of state.models)
        hash.append("model", model);
    return "#" + hash.toString();
}
export function read(address) {
    const hash = new URLSearchParams(address.replace(/^#/, ""));
    if (!hash.has("prompt"))
        return hash.has("run") ? { ...first, run: hash.get("run") } : null;
    const state = { ...PLAIN, ops: [] };
    for (const name of TEXTS)
        state[name] = hash.get(name) ?? PLAIN[name];
    hash.forEach((value, key) => {
        if (key === "do" || key === "off")
            state.ops.push({ kind: value, on: key === "do" });
    });
    state.answers = hash.getAll("answer");
    state.models = hash.getAll("model").slice(0, COLUMNS);
    const layer = Number(hash.get("layer") ?? NaN);
    state.layer = Number.isInteger(layer) && layer >= 0 ? layer : null;
    return state;
}
/** What the server is asked in a state: all but the layer that is looked at, and the model. */
export function question(state) {
    const stack = state.ops.filter((op) => op.on).map((op) => op.kind);
    if (!state.prompt || stack.length === 0)
        return null;
    const asked = {
        prompt: state.prompt,
        manipulate: [stack.join("+")],
        layers: "all",
        answer: state.answers,
    };
    const injects = stack.some((kind) => /^inject\b/.test(kind));
    if (state.tokens !== "prior")
        asked.tokens = state.tokens;
    if (state.extent !== "paper")
        asked.extent = state.extent;
    if (state.site !== "residual")
        asked.site = state.site;
    if (state.seed !== "1")
        asked.seed = [Math.max(0, Math.floor(Number(state.seed)) || 0)];
    if (injects) {
        asked.inject_from = state.donor;
        if (state.at)
            asked.inject_at = state.at;
        if (state.from)
            asked.inject_from_at = state.from;
    }
    return asked;
}
const listeners = [];
export let state = read(location.hash) ?? { ...first };
/** Changes the state. A step is one that the browser's back button undoes. */
export function change(part, step = true) {
    const before = written(state);
    state = { ...state, ...part };
    const after = written(state);
    if (before === after)
        return;
    if (step)
        history.pushState(null, "", after);
    else
        history.replaceState(null, "", after);
    listeners.forEach((listener) => listener());
}
export function onChange(listener) {
    listeners.push(listener);
}
addEventListener("popstate", () => {
    state = read(location.hash) ?? { ...first };
    listeners.forEach((listener) => listener());
});
