// The page's own script: draws the figures in the reader's colours, downloads, browses items.
// Whatever comes from a run is put in as text, never as HTML.
"use strict";
(() => {
  const NONCE = document.currentScript.nonce;
  const $ = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ---- looks ----

  const FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';
  const LOOKS = {
    light: {
      surface: "#ffffff", ink: "#1d2126", muted: "#5b636e", line: "#dfe2e6",
      band: "rgba(29, 33, 38, 0.10)", lift: 0,
      heat: [[0, "#f1f5fa"], [0.5, "#6fa3cf"], [1, "#084594"]],
    },
    dark: {
      surface: "#1a1e24", ink: "#e4e7eb", muted: "#9aa4b0", line: "#313842",
      band: "rgba(228, 231, 235, 0.13)", lift: 0.28,
      heat: [[0, "#222a33"], [0.5, "#2f6fa8"], [1, "#b5d9f7"]],
    },
  };
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");
  let printing = false;
  const look = () => (prefersDark.matches && !printing ? LOOKS.dark : LOOKS.light);

  /** A colour for the ground it is on: dark ones are mixed with white on a dark one. */
  function lifted(colour, by) {
    const parts = /^rgba\((\d+), (\d+), (\d+), ([\d.]+)\)$/.exec(colour);
    if (!parts) return colour;
    const [r, g, b] = parts.slice(1, 4).map(Number);
    const light = (0.3 * r + 0.59 * g + 0.11 * b) / 255;
    const share = by * Math.max(0, 1 - light);
    const mix = (x) => Math.round(x + (255 - x) * share);
    return `rgba(${mix(r)}, ${mix(g)}, ${mix(b)}, ${parts[4]})`;
  }

  function dressedTrace(trace, look) {
    const t = structuredClone(trace);
    if (t.type === "heatmap") {
      return { ...t, colorscale: look.heat, xgap: 1, ygap: 2, texttemplate: "%{z:.0%}", textfont: { size: 11 } };
    }
    if (t.legendgroup === "clean") {
      t.line = { ...t.line, color: look.ink };
      if (t.fill) t.fillcolor = look.band;
      if (t.marker) t.marker.color = look.ink;
      return t;
    }
    if (t.marker && t.marker.line && t.marker.line.color) t.marker.line.color = lifted(t.marker.line.color, look.lift);
    if (t.line && t.line.color) t.line.color = lifted(t.line.color, look.lift);
    if (t.marker && t.marker.color) t.marker.color = lifted(t.marker.color, look.lift);
    if (t.fillcolor) t.fillcolor = lifted(t.fillcolor, look.lift);
    return t;
  }

  function dressedLayout(layout, look) {
    const axis = {
      gridcolor: look.line, linecolor: look.line, tickcolor: look.line, zeroline: false,
      automargin: true, title: { standoff: 8, font: { size: 13, color: look.muted } },
      tickfont: { color: look.muted, size: 12 },
    };
    return {
      ...structuredClone(layout),
      template: { layout: { xaxis: axis, yaxis: axis } },
      font: { family: FONT, size: 13, color: look.ink },
      paper_bgcolor: look.surface,
      plot_bgcolor: look.surface,
      margin: { l: 48, r: 12, t: 12, b: 36 },
      legend: { orientation: "h", x: 0, xanchor: "left", y: 0, yref: "container", yanchor: "bottom", font: { color: look.ink } },
      hoverlabel: { bgcolor: look.surface, bordercolor: look.line, font: { family: FONT, size: 13, color: look.ink } },
      dragmode: coarse.matches ? false : "zoom",
      // Keeps zoom and switched-off series when colours change.
      uirevision: "kept",
    };
  }

  // ---- figures ----

  const CONFIG = { displayModeBar: false, showTips: false };
  const figures = all("figure.plot").map((element) => ({
    element,
    canvas: $(".canvas", element),
    plot: JSON.parse($("script", element).textContent),
  }));

  /**
   * How near the pointer must be, in pixels: the layer swept next to it answers, and no line with
   * its value at another layer.
   */
  function reach(plot, width) {
    const { xaxis, xaxis2 } = plot.layout;
    if (!xaxis2) return 30;
    const told = plot.data.filter((trace) => trace.hovertemplate).flatMap((trace) => trace.x);
    const layers = [...new Set(told)].sort((a, b) => a - b);
    const gap = Math.min(...layers.slice(1).map((layer, n) => layer - layers[n]));
    const pixels = (width - 70) / (xaxis.range[1] - xaxis.range[0]);
    return Number.isFinite(gap) ? Math.max(1, Math.floor(0.5 * gap * pixels)) : 200;
  }

  /** At the size that the page gives it, or so wide. */
  function draw(figure, width = figure.canvas.clientWidth) {
    const layout = dressedLayout(figure.plot.layout, look());
    layout.hoverdistance = reach(figure.plot, width);
    Object.assign(layout, { width, height: figure.canvas.clientHeight });
    const data = figure.plot.data.map((trace) => dressedTrace(trace, look()));
    // Text that has no room is told by the pointer alone.
    const heat = data.find((trace) => trace.type === "heatmap");
    if (heat && (width - 80) / heat.x.length < 32) delete heat.texttemplate;
    Plotly.react(figure.canvas, data, layout, CONFIG);
  }

  /** As it stands, in light colours and with its title. */
  function image(figure, format) {
    if (!window.Plotly) return undefined;
    const { canvas, element, plot } = figure;
    const now = canvas.layout || {};
    const layout = dressedLayout(plot.layout, LOOKS.light);
    for (const name of Object.keys(plot.layout).filter((key) => /^[xy]axis/.test(key))) {
      if (now[name] && now[name].range) layout[name].range = now[name].range;
    }
    const data = plot.data.map((trace, n) => ({
      ...dressedTrace(trace, LOOKS.light),
      visible: canvas.data[n].visible === undefined ? true : canvas.data[n].visible,
    }));
    layout.title = { text: escaped(element.dataset.title), x: 0.02, xanchor: "left", font: { size: 16 } };
    layout.margin = { ...layout.margin, t: 60, l: 60 };
    const height = element.classList.contains("heat") ? 240 : 540;
    const filename = element.dataset.file;
    const scale = format === "png" ? 2 : 1;
    return Plotly.downloadImage({ data, layout, config: CONFIG }, { format, filename, width: 900, height, scale });
  }

  /** Plotly knows a few tags and entities. */
  function escaped(text) {
    const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", "{": "&#123;" };
    return text.replace(/[&<>{]/g, (c) => entities[c]);
  }

  let round = 0;
  /** Draws all figures, one after the other so that the page answers; a later call takes over. */
  async function drawAll() {
    round += 1;
    const mine = round;
    if (!window.Plotly) return;
    const { dataset } = document.documentElement;
    delete dataset.drawn;
    for (const figure of figures) {
      if (mine !== round) return;
      draw(figure);
      await new Promise((next) => setTimeout(next));
    }
    dataset.drawn = "";
  }

  prefersDark.addEventListener("change", () => drawAll());
  let resized;
  addEventListener("resize", () => {
    clearTimeout(resized);
    if (!printing) resized = setTimeout(() => drawAll(), 300);
  });
  addEventListener("beforeprint", () => {
    printing = true;
    if (window.Plotly) figures.forEach((figure) => draw(figure, Math.min(figure.canvas.clientWidth, 640)));
  });
  addEventListener("afterprint", () => {
    printing = false;
    drawAll();
  });
  for (const figure of figures) {
    for (const button of all("[data-image]", figure.element)) {
      button.addEventListener("click", () => image(figure, button.dataset.image));
    }
  }

  // ---- tables ----

  function cell(text) {
    // A spreadsheet takes a text that begins so for a formula.
    const safe = /^[=@\t\r]|^[+-](?![\d ]|$)/.test(text) ? `'${text}` : text;
    return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  }

  function csv(table) {
    const rows = all("tr", table).map((row) => [...row.children].map((c) => cell(c.textContent)).join(","));
    return rows.join("\r\n") + "\r\n";
  }

  function save(text, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  for (const button of all("[data-csv]")) {
    const figure = button.closest("figure");
    button.addEventListener("click", () => save(csv($("table", figure)), `${figure.dataset.file}.csv`));
  }

  // ---- single items ----

  async function browse() {
    const browser = $(".browser");
    if (!browser) return;
    const { texts, tasks, variants } = JSON.parse(await unpacked("#item-data"));
    const control = (name) => $(`[name="${name}"]`, browser);
    const list = $(".list", browser);
    const itemBox = $(".item", browser);
    const chosen = { item: null };

    const element = (name, text, className) => {
      const e = document.createElement(name);
      if (text !== undefined) e.textContent = text;
      if (className) e.className = className;
      return e;
    };
    /** Short answers are quoted, so that their spaces and line ends are seen. */
    const said = (text) => (text.length <= 60 ? JSON.stringify(text) : text);
    const number = (x, digits) => (x === null ? "\u2013" : x.toFixed(digits));
    const fill = (select, options) => {
      const before = select.value;
      select.replaceChildren(...options.map(([value, text]) => {
        const option = element("option", text);
        option.value = value;
        return option;
      }));
      if (options.some(([value]) => value === before)) select.value = before;
      const label = select.closest("label");
      label.hidden = label.dataset.for === "variant" && options.length < 2;
    };

    const variant = () => variants[Number(control("variant").value) || 0];
    const ofTask = () => variant().items.filter((item) => item.task === Number(control("task").value));
    const runName = (run) => (run.seed === null ? run.kind : `${run.kind}, seed ${run.seed}`);

    function verdict(row, task) {
      const [, , score, correct, donor] = row;
      if (donor) return ["donor\u2019s", "donor"];
      if (correct) return ["right", "right"];
      return task.binary ? ["", ""] : [`${(100 * score).toFixed(0)} %`, ""];
    }

    function showTasks() {
      const there = tasks.map((task, n) => [String(n), task.name]);
      fill(control("task"), there.filter(([n]) => variant().items.some((item) => item.task === Number(n))));
      showRuns();
    }

    function showRuns() {
      const names = new Set(ofTask().flatMap((item) => item.runs.map(runName)));
      fill(control("run"), [...names].map((name) => [name, name]));
      showList();
    }

    function showList() {
      const wanted = control("search").value.trim().toLowerCase();
      const show = control("show").value;
      const shown = ofTask().filter((item) => {
        const right = Boolean(item.clean && item.clean[3]);
        if (show !== "all" && right !== (show === "right")) return false;
        const within = [item.title, item.name, item.prompt, item.answer, ...(item.clean ? [item.clean[1]] : [])];
        return !wanted || within.some((n) => texts[n].toLowerCase().includes(wanted));
      });
      $(".count", browser).textContent = `${shown.length} of ${ofTask().length} items`;
      if (!shown.includes(chosen.item)) {
        const same = chosen.item && shown.find((item) => item.name === chosen.item.name);
        chosen.item = same || shown.find((item) => item.clean && item.clean[3]) || shown[0] || null;
      }
      list.replaceChildren(...shown.map((item) => {
        const button = element("button");
        button.type = "button";
        const label = element("span", texts[item.title]);
        label.append(" ", element("i", texts[item.answer]));
        button.append(label);
        if (item.clean) {
          const [word, name] = verdict(item.clean, tasks[item.task]);
          button.append(element("small", word, name));
        }
        button.setAttribute("aria-current", String(item === chosen.item));
        button.addEventListener("click", () => {
          chosen.item = item;
          for (const other of all("button", list)) other.setAttribute("aria-current", String(other === button));
          showItem();
        });
        const entry = element("li");
        entry.append(button);
        return entry;
      }));
      showItem();
    }

    function showItem() {
      const item = chosen.item;
      itemBox.hidden = !item;
      if (!item) return;
      const task = tasks[item.task];
      $("h3", itemBox).textContent = texts[item.title];
      const facts = [["right answer", texts[item.answer]]];
      if (item.name !== item.title) facts.unshift(["item", texts[item.name]]);
      if (item.donor !== null) facts.push(["donor\u2019s answer", texts[item.donor]]);
      if (item.clean) facts.push(["clean answer", said(texts[item.clean[1]])]);
      if (item.again && item.clean && item.again[1] !== item.clean[1]) {
        facts.push(["clean, batch cut", said(texts[item.again[1]])]);
      }
      $(".facts", itemBox).replaceChildren(...facts.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
      $("pre", itemBox).textContent = texts[item.prompt];
      const run = item.runs.find((r) => runName(r) === control("run").value);
      $("figure h4", itemBox).textContent = run ? `Answers under ${runName(run)}` : "";
      $("figure", itemBox).hidden = !run;
      const rows = run ? run.rows : [];
      const head = ["layer", "answer", task.binary ? "" : task.metric, "log-probability", "KL, nats", "rank"];
      $("thead tr", itemBox).replaceChildren(...head.map((name) => element("th", name)));
      $("tbody", itemBox).replaceChildren(...rows.map((row) => {
        const [layer, answer, , , , logprob, kl, rank] = row;
        const [word, name] = verdict(row, task);
        const line = element("tr");
        line.append(
          element("td", String(layer)),
          element("td", said(texts[answer]), "answer"),
          element("td", word, name),
          element("td", number(logprob, 2)),
          element("td", number(kl, 3)),
          element("td", String(rank)),
        );
        return line;
      }));
    }

    fill(control("variant"), variants.map((v, n) => [String(n), v.name]));
    control("variant").addEventListener("change", showTasks);
    control("task").addEventListener("change", showRuns);
    control("run").addEventListener("change", showItem);
    control("show").addEventListener("change", showList);
    control("search").addEventListener("input", showList);
    list.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      const buttons = all("button", list);
      const next = step && buttons[buttons.indexOf(document.activeElement) + step];
      if (!next) return;
      event.preventDefault();
      next.focus();
      next.click();
    });
    browser.hidden = false;
    showTasks();
  }

  /** A text that the page carries deflated, in base64. */
  async function unpacked(name) {
    const bytes = Uint8Array.from(atob($(name).textContent), (c) => c.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(plain).text();
  }

  async function loadPlotly() {
    const code = await unpacked("#plotly");
    const script = document.createElement("script");
    script.nonce = NONCE;
    script.textContent = code;
    document.head.append(script);
  }

  const old = "This browser is older than 2023 and cannot unpack what belongs here. The tables hold the same numbers.";
  browse().catch(() => $("#items").append(old));
  loadPlotly().then(() => drawAll(), () => {
    for (const { canvas } of figures) canvas.textContent = old;
  });
})();
