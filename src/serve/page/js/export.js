// What is taken along: the curve as a picture, and a notebook for the Python package.
import { percent, save, visible } from "./dom.js";
import { isNoise } from "./results.js";
const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM] = [900, 460, 60, 64, 54];
/** Those of the page in light. */
const COLOURS = ["#1f5fbf", "#c2410c", "#15803d", "#7e22ce"];
function text(raw) {
    const escaped = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
    // Characters that XML has not are shown as what they are: none.
    return raw.replace(/[&<>"]/g, (c) => escaped[c]).replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd");
}
/** The curve of the answers over the layers, as SVG that needs nothing else. */
export function picture(column, done) {
    const results = column.results;
    const layers = column.layers;
    const answers = (results.clean?.answers ?? []).slice(0, COLOURS.length);
    const x = (layer) => LEFT + ((layer + 0.5) * (WIDTH - LEFT - 20)) / Math.max(layers, 1);
    const y = (p) => HEIGHT - BOTTOM - p * (HEIGHT - TOP - BOTTOM);
    const cells = [...results.cells].sort((a, b) => a[0] - b[0]);
    const parts = [];
    const put = (name, attributes, inner = "") => parts.push(`<${name} ${Object.entries(attributes).map(([key, value]) => `${key}="${text(String(value))}"`).join(" ")}>${text(inner)}</${name}>`);
    put("rect", { width: WIDTH, height: HEIGHT, fill: "#fff" });
    put("text", { x: LEFT, y: 22, "font-size": 15, "font-weight": 600 }, `${column.name}: ${done}`);
    for (const p of [0, 0.25, 0.5, 0.75, 1]) {
        put("line", { x1: LEFT, x2: WIDTH - 20, y1: y(p), y2: y(p), stroke: "#ddd" });
        put("text", { x: LEFT - 8, y: y(p) + 4, "text-anchor": "end", fill: "#555" }, `${100 * p}%`);
    }
    const step = Math.max(1, Math.ceil(layers / 20));
    for (let layer = 0; layer < layers; layer += step)
        put("text", { x: x(layer), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle", fill: "#555" }, String(layer));
    put("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 10, "text-anchor": "middle" }, "layer (hollow: no more than rounding)");
    answers.forEach((answer, n) => {
        const colour = COLOURS[n];
        put("line", { x1: LEFT, x2: WIDTH - 20, y1: y(answer.probability), y2: y(answer.probability), stroke: colour, "stroke-dasharray": "6 5", opacity: 0.6 });
        const points = cells.map(([layer, cell]) => `${x(layer).toFixed(2)},${y(cell.answers[n].probability).toFixed(2)}`);
        put("polyline", { points: points.join(" "), fill: "none", stroke: colour, "stroke-width": 2 });
        for (const [layer, cell] of cells) {
            put("circle", { cx: x(layer).toFixed(2), cy: y(cell.answers[n].probability).toFixed(2), r: 3.5, fill: isNoise(results, cell) ? "#fff" : colour, stroke: colour });
        }
        put("text", { x: LEFT + n * 200, y: 46, fill: colour }, `● ${visible(answer.text)}, clean ${percent(answer.probability)}% (dashed)`);
    });
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="system-ui, sans-serif" font-size="13">\n${parts.join("\n")}\n</svg>\n`;
}
/** The picture in pixels, twice as many as points. */
export async function png(svg) {
    const url = URL.createObjectURL(new Blob([svg], { type: "image/svg+xml" }));
    try {
        const image = new Image();
        image.src = url;
        await image.decode();
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [2 * WIDTH, 2 * HEIGHT];
        canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
        const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
        if (blob)
            save("midlayer.png", "image/png", blob);
    }
    finally {
        URL.revokeObjectURL(url);
    }
}
/** A notebook (nbformat 4) that computes the same with the Python package. */
export function notebook(results) {
    const lines = (source) => source.split("\n").map((line, n, all) => (n + 1 < all.length ? line + "\n" : line));
    const code = (id, source) => ({ cell_type: "code", id, execution_count: null, metadata: {}, outputs: [], source: lines(source) });
    const said = (id, source) => ({ cell_type: "markdown", id, metadata: {}, source: lines(source) });
    const cells = [
        said("about", "What `midlayer serve` showed, computed with the Python package. The numbers are those of the page and of\n\n```\n" + results.command.replace(/```/g, "` ` `") + "\n```"),
        code("run", results.python),
        code("numbers", "r.kl, r.answer_probs"),
    ];
    const metadata = { kernelspec: { display_name: "Python 3", language: "python", name: "python3" }, language_info: { name: "python" } };
    return JSON.stringify({ cells, metadata, nbformat: 4, nbformat_minor: 5 }, null, 1) + "\n";
}
