// What came back for the question that is asked: kept until another is asked, so that moving a
// layer costs nothing.
import { ask, page } from "./api.js";
import { prepared } from "./examples.js";
import { question, state } from "./state.js";
export function none(key) {
    return {
        key, tokens: [], clean: null, cells: new Map(), fixed: null, layers: [], noise: null,
        command: "", error: "", done: false, from: null,
    };
}
export let results = none("");
const kept = new Map();
let running = null;
let timer = 0;
/** The layer that is shown: the one looked at, or where the answer changes most. */
export function layerShown() {
    if (state.layer !== null)
        return state.layer;
    let best = null;
    for (const [layer, cell] of results.cells) {
        if (best === null || cell.kl > results.cells.get(best).kl)
            best = layer;
    }
    return best;
}
export function isNoise(cell) {
    return !!cell && results.noise !== null && cell.kl <= results.noise;
}
/** Asks what the state asks, unless it is known. */
export function refresh(ready, told, wait = 0) {
    const asked = question(state);
    const key = JSON.stringify(asked);
    if (key === results.key && (results.done || results.error || (running && !results.from)))
        return told();
    clearTimeout(timer);
    running?.abort();
    running = null;
    const known = kept.get(key);
    if (known) {
        results = known;
        return told();
    }
    if (!asked) {
        results = { ...none(key), tokens: results.tokens };
        return told();
    }
    const ready_made = prepared(key);
    if (ready_made)
        results = ready_made;
    else if (results.key !== key)
        results = { ...none(key), tokens: results.tokens };
    told();
    if (ready)
        timer = setTimeout(() => void run(key, asked, told), wait);
}
async function run(key, asked, told) {
    const controller = new AbortController();
    running = controller;
    const fresh = none(key);
    let scheduled = false;
    const tell = () => {
        if (scheduled)
            return;
        scheduled = true;
        requestAnimationFrame(() => {
            scheduled = false;
            if (running === controller || fresh.done)
                told();
        });
    };
    try {
        await ask("/v1/try", { ...asked, page }, controller.signal, (line) => {
            if (running !== controller)
                return;
            switch (line.type) {
                case "meta":
                    fresh.tokens = line.tokens;
                    fresh.layers = line.layers.filter((layer) => layer !== null);
                    fresh.command = line.command;
                    break;
                case "cell":
                    if (fresh.clean === null)
                        fresh.clean = line;
                    else if (line.layer === null)
                        fresh.fixed = line;
                    else
                        fresh.cells.set(line.layer, line);
                    break;
                case "noise":
                    fresh.noise = line.kl;
                    break;
                case "done":
                    fresh.done = true;
                    kept.set(key, fresh);
                    if (kept.size > 50)
                        kept.delete(kept.keys().next().value);
                    break;
                case "error":
                    fresh.error = line.message;
                    break;
            }
            if (fresh.tokens.length === 0)
                fresh.tokens = results.tokens;
            results = fresh;
            tell();
        });
    }
    catch (error) {
        if (controller.signal.aborted)
            return;
        fresh.error = "the server does not answer: " + error.message;
        fresh.tokens = results.tokens;
        results = fresh;
        tell();
    }
}
