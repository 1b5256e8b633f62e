// What is done: a stack of manipulations with their parameters, in an order that can be changed.
import { button, el } from "./dom.js";
import { carries } from "./drag.js";
import { change, state } from "./state.js";
/** Takes scale:factor=0.5@20 apart. */
export function parts(kind) {
    const [rest, layer] = kind.split("@");
    const [name, ...given] = rest.split(":");
    return { name, given: new Map(given.map((pair) => pair.split("="))), layer: layer ?? "" };
}
export function whole({ name, given, layer }) {
    const pairs = [...given].map(([key, value]) => `:${key}=${value}`);
    return name + pairs.join("") + (layer ? "@" + layer : "");
}
function set(n, kind, on) {
    const ops = state.ops.map((op, m) => (m === n && kind !== null ? { kind, on: on ?? op.on } : op));
    change({ ops: kind === null ? ops.filter((_, m) => m !== n) : ops });
}
function move(from, to) {
    if (to < 0 || to >= state.ops.length || from === to)
        return;
    const ops = [...state.ops];
    ops.splice(to, 0, ...ops.splice(from, 1));
    change({ ops });
}
export class Stack {
    element = el("ol", { class: "stack", "aria-label": "manipulations, in order" });
    key = "";
    show(kinds) {
        const key = JSON.stringify([state.ops, kinds.length]);
        if (key === this.key)
            return;
        this.key = key;
        const focused = document.activeElement?.dataset.control;
        this.element.replaceChildren(...state.ops.map((op, n) => this.row(n, op.kind, op.on, kinds)));
        if (focused)
            this.element.querySelector(`[data-control="${CSS.escape(focused)}"]`)?.focus();
    }
    row(n, kind, on, kinds) {
        const own = parts(kind);
        const known = kinds.find((k) => k.name === own.name);
        const control = (name) => `${n}-${name}`;
        const choice = el("select", {
            "aria-label": `manipulation ${n + 1}`, "data-control": control("kind"),
            change: (event) => set(n, event.target.value),
        }, ...(kinds.length ? kinds.map((k) => k.name) : [own.name]).map((name) => el("option", { selected: name === own.name }, name)));
        const fields = (known?.parameters ?? []).map((parameter) => {
            const value = own.given.get(parameter.name) ?? String(parameter.value);
            const store = (event) => {
                const given = new Map(own.given);
                if (event.target.value === String(parameter.value))
                    given.delete(parameter.name);
                else
                    given.set(parameter.name, event.target.value);
                set(n, whole({ ...own, given }));
            };
            const input = parameter.words
                ? el("select", { change: store, "data-control": control(parameter.name) }, ...parameter.words.map((word) => el("option", { selected: word === value }, word)))
                : el("input", { type: "number", step: "any", value, change: store, "data-control": control(parameter.name) });
            return el("label", { title: parameter.sentence }, parameter.name, input);
        });
        const fixed = el("label", { title: "empty: the layer that is looked at" }, "at layer", el("input", {
            type: "number", min: 0, value: own.layer, placeholder: "moves", "data-control": control("layer"),
            change: (event) => set(n, whole({ ...own, layer: event.target.value })),
        }));
        const handle = el("span", { class: "handle", title: "drag to change the order", "aria-hidden": "true" }, "⠿");
        const row = el("li", { class: on ? "" : "off", "data-row": n }, state.ops.length > 1 ? handle : null, el("label", { class: "switch", title: "on or off" }, el("input", {
            type: "checkbox", checked: on, "aria-label": `${own.name} on`, "data-control": control("on"),
            change: (event) => set(n, kind, event.target.checked),
        })), choice, ...fields, fixed, state.ops.length > 1 ? button("↑", () => move(n, n - 1), { "aria-label": "earlier", "data-control": control("up") }) : null, state.ops.length > 1 ? button("↓", () => move(n, n + 1), { "aria-label": "later", "data-control": control("down") }) : null, button("×", () => set(n, null), { "aria-label": `remove ${own.name}`, "data-control": control("remove") }), el("span", { class: "quiet says" }, known?.sentence ?? ""));
        carries(handle, ".stack > li", (target) => move(n, Number(target.dataset.row)));
        return row;
    }
}
