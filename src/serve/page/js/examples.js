// Six examples. Their results were prepared with the program itself, so that there is something
// to see before a model has loaded.
import { none } from "./results.js";
import { first, question } from "./state.js";
const plain = { ...first, donor: "", at: "", answers: [] };
const spain = "Q: What is the capital of Spain?\nA: Madrid\n";
export const examples = [
    { name: "Italy for France", state: first },
    {
        name: "Freeze the question",
        state: { ...plain, prompt: spain + "Q: What is the capital of France?\nA:", ops: [{ kind: "freeze", on: true }], answers: [" Paris", " Madrid"] },
    },
    {
        name: "Noise for one word",
        state: { ...plain, prompt: "The Eiffel Tower is in the city of", ops: [{ kind: "random", on: true }], tokens: "1-4", answers: [" Paris", " London"] },
    },
    {
        name: "Stop attention",
        state: { ...plain, prompt: "red green blue red green blue red green", ops: [{ kind: "skip-attention", on: true }], answers: [" blue", " red"] },
    },
    {
        name: "Counting on",
        state: { ...plain, prompt: "Monday, Tuesday, Wednesday,", ops: [{ kind: "shuffle", on: true }], answers: [" Thursday", " Friday"] },
    },
    {
        name: "Half as strong",
        state: { ...plain, prompt: "The opposite of hot is cold. The opposite of big is", ops: [{ kind: "scale:factor=0.5", on: true }], answers: [" small", " big"] },
    },
];
let all = [];
export async function load() {
    const answer = await fetch("/prepared.json");
    if (answer.ok)
        all = await answer.json();
}
function cell(of) {
    return { manipulation: "", layer: of.layer, kl: of.kl, argmax: of.top[0], answers: of.answers, top: of.top };
}
/** The prepared results of a question, if it is an example's. */
export function prepared(key) {
    const found = all.find((one) => one.key === key);
    if (!found)
        return null;
    const [clean, ...cells] = found.cells.map(cell);
    return {
        ...none(key), tokens: found.tokens, clean, noise: found.noise, command: found.command, from: found.model,
        cells: new Map(cells.map((one) => [one.layer, one])), layers: cells.map((one) => one.layer),
    };
}
/** What the script that prepares them asks. */
export const questions = examples.map((example) => question(example.state));
