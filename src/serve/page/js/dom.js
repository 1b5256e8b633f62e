// Elements. What comes from elsewhere is text, never markup.
function fill(element, attributes, children) {
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function")
            element.addEventListener(name, value);
        else if (value === null || value === false)
            element.removeAttribute(name);
        else
            element.setAttribute(name, value === true ? "" : String(value));
    }
    for (const child of children)
        if (child !== null)
            element.append(child);
}
export function el(name, attributes = {}, ...children) {
    const element = document.createElement(name);
    fill(element, attributes, children);
    return element;
}
export function svg(name, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    fill(element, attributes, children);
    return element;
}
/** A token's text as people tell it apart from others: spaces and line ends have a mark. */
export function visible(text) {
    return text.replace(/^ | $/g, "␣").replace(/\n/g, "↵").replace(/\t/g, "⇥");
}
/** A probability in percent, as midlayer try prints it. */
export function percent(probability) {
    const p = 100 * probability;
    return p > 0 && p < 0.005 ? p.toExponential(0).replace("+", "") : p.toFixed(2);
}
/** Text in quotes that keeps its own direction. */
export function quoted(text) {
    return el("bdi", { class: "token" }, visible(text));
}
export function button(text, act, attributes = {}) {
    return el("button", { type: "button", click: act, ...attributes }, text);
}
/** A choice among texts. */
export function choice(label, values, chosen, put) {
    return el("select", { "aria-label": label, change: (event) => put(event.target.value) }, ...values.map((value) => el("option", { selected: value === chosen }, value)));
}
/** Saves text as a file. */
export function save(name, type, text) {
    const url = URL.createObjectURL(text instanceof Blob ? text : new Blob([text], { type }));
    el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
