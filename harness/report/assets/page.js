"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = (id) => document.getElementById(id);
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#7a5cc9", "#8c6d46"];
  const ON_DARK = ["#5aaef0", "#ff8f52", "#35cf9f", "#eaa3cc", "#e3ba45", "#9adaff", "#b9a1f5", "#cfa880"];
  const DASHES = ["solid", "dashed", "dotdash", "dotted"];
  const DEFAULTS = { t: data.opens, sort: "", dir: "asc", q: "", w: "", s: "", x: "time", hide: "", hp: "lr", theme: "auto" };
  let state = { ...DEFAULTS };

  // A submission has the same colour and dash pattern in every table.
  const all = [...new Set(Object.values(data.shown).flatMap((t) => Object.values(t).flat()).concat(data.tables.flatMap((t) => t.rows.map((r) => r.submission))))].sort();
  const dark = () => (state.theme === "auto" ? matchMedia("(prefers-color-scheme: dark)").matches : state.theme === "dark");
  const colour = (s) => (dark() ? ON_DARK : COLOURS)[Math.max(0, all.indexOf(s)) % COLOURS.length];
  const dash = (s) => DASHES[Math.floor(Math.max(0, all.indexOf(s)) / COLOURS.length) % DASHES.length];

  // --- state in the address --------------------------------------------------------------------
  function read() {
    const params = new URLSearchParams(location.hash.slice(1));
    state = { ...DEFAULTS };
    for (const key of Object.keys(DEFAULTS)) if (params.has(key)) state[key] = params.get(key);
    if (!data.tables.some((t) => t.id === state.t)) state.t = DEFAULTS.t;
    if (!["time", "examples", "steps"].includes(state.x)) state.x = "time";
    if (!["auto", "light", "dark"].includes(state.theme)) state.theme = "auto";
  }
  function write() {
    const params = new URLSearchParams();
    for (const [key, value] of Object.entries(state)) if (value !== DEFAULTS[key]) params.set(key, value);
    const text = params.toString();
    history.replaceState(null, "", text ? "#" + text : location.pathname + location.search);
  }
  function set(changes, what) { Object.assign(state, changes); write(); render(what); }

  // --- small helpers ---------------------------------------------------------------------------
  function el(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) {
      if (value === null || value === undefined) continue;
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value); else made.setAttribute(key, value);
    }
    made.append(...children.filter((c) => c !== null && c !== undefined));
    return made;
  }
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const table = () => data.tables.find((t) => t.id === state.t);
  const hidden = () => new Set(state.hide ? state.hide.split(",") : []);
  const factsOf = (w) => data.workloads[state.t]?.[w];
  const shown = () => data.shown[state.t] ?? {};
  const workloads = () => Object.keys(shown());
  // At first, the charts show the workload with the most submissions. Coarse workloads come last.
  const usefulness = (w) => (factsOf(w)?.coarse ? 0 : 1e6) + shown()[w].length;
  function workload() { const names = workloads(); return names.includes(state.w) ? state.w : names.reduce((a, b) => (usefulness(b) > usefulness(a) ? b : a), names[0]); }
  const mark = (w) => (factsOf(w)?.coarse ? w + " (coarse)" : w);
  // The index of the chosen stage of a stream; null for the whole stream and on a pool.
  const stage = () => (factsOf(workload())?.stages[state.s] ? Number(state.s) : null);
  const number = (v, digits = 3) => v === null || v === undefined ? "–" : Math.abs(v) >= 1000 ? Math.round(v).toLocaleString("en") : String(Number(v.toPrecision(digits)));
  const dot = (s) => el("span", { class: "dot", style: `background:${colour(s)}`, "aria-hidden": "true" });
  function options(select, values, chosen) {
    select.replaceChildren(...values.map(([value, text]) => el("option", { value }, text)));
    select.value = chosen ?? "";
  }

  // --- blocks: compressed data that are decoded when they are first shown -----------------------
  const blocks = new Map();
  function load(name, none) {
    if (!(name in data.blocks)) return Promise.resolve(none);
    if (!blocks.has(name)) blocks.set(name, decode(document.querySelector(`[data-block="${data.blocks[name]}"]`).textContent));
    return blocks.get(name);
  }
  async function decode(text) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"))).json();
  }
  // The submissions that are drawn on the chosen workload, with their data.
  async function groups() {
    const block = await load(state.t + "|" + workload(), {}), off = hidden();
    return Object.entries(block).filter(([name]) => !off.has(name));
  }

  // --- leaderboard -----------------------------------------------------------------------------
  function columns(t) {
    const list = [
      { key: "rank", name: "rank", num: true, value: (r) => r.ranks[0] + r.ranks[1] / 1000, show: (r) => r.rank },
      { key: "submission", name: "submission", stick: true, value: (r) => r.submission, show: (r) => el("span", {}, dot(r.submission), r.submission + (r.submission === t.reference ? " (reference)" : "") + (r.doubted ? " †" : "")) },
      ...t.columns.map((c) => ({ key: c.key, name: c.heading, num: c.right, high: c.highest_first, value: (r) => [r[c.key]].flat()[0], show: (r) => split(r.score_texts[c.key]) })),
    ];
    for (const w of t.workloads) list.push({ key: "w:" + w, name: w, coarse: factsOf(w)?.coarse, num: true, tight: true, value: (r) => r.cells[w]?.value ?? null, show: (r) => split(r.cell_texts[w] ?? "–") });
    return list;
  }
  // The interval or range is printed on a separate line below the median.
  function split(text) {
    const at = text.search(/ [[{(]/);
    const first = at < 0 ? text : text.slice(0, at);
    return el("span", { class: first.startsWith("missed") ? "miss" : null }, first, at < 0 ? null : el("small", {}, text.slice(at + 1)));
  }
  const sentences = ([first, ...others] = []) => (first ? [el("strong", {}, first), " " + others.join(" ")] : []);
  function drawBoard() {
    const t = table();
    $("below").replaceChildren();
    drawGrids($("details"), t?.details ?? []);
    drawVerdicts(t?.matrix);
    $("headline").replaceChildren(...sentences(t?.headline));
    if (!t) { $("board").replaceChildren(); $("count").textContent = "No results."; return; }
    const list = columns(t);
    const chosen = list.find((c) => c.key === state.sort) ?? list[0];
    const sign = state.dir === "desc" ? -1 : 1;
    const rows = t.rows.filter((r) => (r.submission + " " + r.trust).toLowerCase().includes(state.q.toLowerCase())).sort((a, b) => {
      const [x, y] = [chosen.value(a), chosen.value(b)];
      if (x === null || y === null) return (x === null) - (y === null);
      return sign * (typeof x === "string" ? x.localeCompare(y) : x - y);
    });
    const head = el("tr", {}, ...list.map((c) => {
      const active = c === chosen;
      return el("th", { scope: "col", class: [c.num ? "num" : "", c.tight ? "tight" : "", c.stick ? "stick" : ""].join(" ").trim() || null, "aria-sort": active ? (sign > 0 ? "ascending" : "descending") : null },
        el("button", { type: "button", "data-key": c.key, onclick: () => set({ sort: c.key, dir: active ? (sign > 0 ? "desc" : "asc") : c.high ? "desc" : "asc" }, "board") }, c.name), c.coarse ? el("span", { class: "tag" }, "coarse") : null);
    }));
    const focused = document.activeElement?.dataset?.key;
    $("board").replaceChildren(el("caption", { class: "dim" }, el("span", {}, t.title)), el("thead", {}, head), el("tbody", {}, ...rows.map((r) =>
      el("tr", { "data-submission": r.submission }, ...list.map((c) => el("td", { class: [c.num ? "num" : "", c.stick ? "stick" : ""].join(" ").trim() || null }, c.show(r)))))));
    if (focused) $("board").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    $("count").textContent = `${rows.length} of ${t.rows.length} submissions` + (t.ranked ? "" : "; unranked");
    $("below").replaceChildren(...t.below.concat(data.marked, data.problems.map((p) => "left out: " + p)).map((line) => el("li", {}, line)));
  }

  // Draw the verdict of every row against every column.
  function drawVerdicts(m) {
    $("pairs").hidden = !m || m.names.length < 2 || !m.cells.flat().some(Boolean);
    if ($("pairs").hidden) return;
    const head = el("tr", {}, el("th", { scope: "col", class: "stick" }, "row against column"), ...m.names.map((n) => el("th", { scope: "col" }, n)));
    const rows = m.names.map((n, i) => el("tr", {}, el("th", { scope: "row", class: "stick" }, dot(n), n), ...m.cells[i].map((c) =>
      (c ? el("td", { class: c[0], title: `${c[2]} pairs of studies` }, c[0], el("small", {}, c[1])) : el("td", {}, "–")))));
    $("verdicts").replaceChildren(el("thead", {}, head), el("tbody", {}, ...rows));
    $("verdicts-explained").textContent = data.verdicts_explained + (m.left_out ? ` ${m.left_out} more submissions have no row.` : "");
  }

  // --- charts ----------------------------------------------------------------------------------
  const views = {};
  const coarse = matchMedia("(pointer: coarse)").matches;
  function figure(id, labels, more = {}) {
    const { colours = {}, ...rest } = more;
    const p = Bokeh.Plotting.figure({ sizing_mode: "stretch_width", height: 340, tools: "pan,box_zoom,wheel_zoom,reset,save", toolbar_location: "above", x_axis_label: labels[0], y_axis_label: labels[1], output_backend: "canvas", ...rest });
    const [fg, line] = [css("--fg"), css("--line")];
    p.background_fill_color = p.border_fill_color = css("--bg");
    p.outline_line_color = line;
    for (const axis of [...p.xaxes, ...p.yaxes]) {
      axis.axis_label_text_color = axis.major_label_text_color = fg;
      axis.axis_line_color = axis.major_tick_line_color = axis.minor_tick_line_color = css("--dim");
      axis.axis_label_text_font_style = "normal";
    }
    for (const grid of [...p.xgrids, ...p.ygrids]) grid.grid_line_color = line;
    p.toolbar.logo = null;
    // On a touch screen, scrolling the page must not pan the chart.
    if (coarse) p.toolbar.active_drag = p.toolbar.active_scroll = null; else p.toolbar.active_scroll = null;
    return p;
  }
  async function show(id, p) {
    const place = $(id);
    place.classList.toggle("empty", p === null);
    try { (await views[id])?.remove(); } catch { /* The chart was not drawn yet. */ }
    if (p === null) { delete views[id]; place.replaceChildren("Nothing to draw."); return; }
    place.replaceChildren();
    views[id] = Bokeh.Plotting.show(p, place);
    await views[id];
  }
  const hover = (renderers, tooltips) => new Bokeh.HoverTool({ renderers, tooltips, mode: "mouse", line_policy: "nearest" });
  const unit = () => (state.x === "time" ? `${table()?.clock ?? ""} seconds` : state.x);
  const median = (v) => { const s = [...v].sort((a, b) => a - b), m = s.length >> 1; return s.length % 2 ? s[m] : (s[m - 1] + s[m]) / 2; };

  // Return the part of a run that is drawn: the whole run on a pool, the chosen stage of a stream, or the whole stream
  // with a gap between its stages. In a chosen stage, amounts are counted from the end of the previous stage.
  function part(run) {
    const k = stage(), x = run[state.x], metric = run.metric.map((v) => v ?? NaN);
    if (!run.stage) return { ...run, x, y: metric };
    if (k === null) {
      const xs = [], ys = [];
      x.forEach((v, i) => { if (i && run.stage[i] !== run.stage[i - 1]) { xs.push(v); ys.push(NaN); } xs.push(v); ys.push(metric[i]); });
      return { ...run, x: xs, y: ys };
    }
    const first = run.stage.indexOf(k), last = run.stage.lastIndexOf(k), start = first > 0 ? x[first - 1] : 0;
    if (first < 0) return { ...run, x: [], y: [] };
    return { ...run, x: x.slice(first, last + 1).map((v) => v - start), y: metric.slice(first, last + 1), hit: run.hit || last + 1 < x.length };
  }
  // Draw one line per run, and the median and the range of the scored runs. curve_bands.py explains where a median ends.
  async function drawMetric() {
    const facts = factsOf(workload()), k = stage();
    const drawn = (await groups()).map(([name, g]) => [name, { ...g, band: k === null ? g.band : g.stages?.[k], curves: g.curves.map(part).filter((r) => r.y.some((v) => !Number.isNaN(v))) }]).filter(([, g]) => g.curves.length);
    const target = k === null ? facts?.target : facts.stages[k].target, since = k === null ? "" : " since the stage began";
    $("c-metric").textContent = facts ? `${mark(workload())}${k === null ? "" : ", stage " + facts.stages[k].name}: ${facts.metric} against ${unit()}${since}` + (target === null ? "" : `; dashed: the target${facts.stages.length && k === null ? " of the last stage" : ""}, ${facts.goal === "min" ? "≤" : "≥"} ${number(target)}${facts.unit ? " " + facts.unit : ""}`) : "Metric";
    if (!drawn.length) return show("metric", null);
    const range = closeUp(drawn.flatMap(([, g]) => g.curves), target);
    if (range.clipped) $("c-metric").append(" (the first evaluations lie outside)");
    const most = Math.max(...drawn.map(([, g]) => g.runs)), lines = Math.max(...drawn.map(([, g]) => g.curves.length));
    if (most > lines) $("c-metric").append(`; thin: up to ${lines} of up to ${most} runs per submission`);
    if (facts.stages.length && k === null) $("c-metric").append("; choose a stage for medians, because runs enter a stage at different times");
    else if (drawn.some(([, g]) => g.band?.mid)) $("c-metric").append("; thick: median of the scored runs, up to where the middle run reaches the target or breaks");
    const p = figure("metric", [unit() + since, facts.metric + (facts.unit ? ` (${facts.unit})` : "")], { y_range: range.ends });
    const dots = [], f = (field) => ({ field });
    for (const [name, g] of drawn) {
      const c = colour(name), band = g.band?.mid ? g.band : null;
      if (band) {
        const source = new Bokeh.ColumnDataSource({ data: { x: band[state.x], mid: band.mid.map((v) => v ?? NaN), low: band.low, high: band.high } });
        p.varea({ x: f("x"), y1: f("low"), y2: f("high"), source, fill_color: c, fill_alpha: 0.15 });
        p.line({ x: f("x"), y: f("mid"), source, line_color: c, line_width: 2.5, line_dash: dash(name) });
      }
      const alone = g.curves.length === 1 && !band;
      p.multi_line({ xs: f("xs"), ys: f("ys"), source: new Bokeh.ColumnDataSource({ data: { xs: g.curves.map((r) => r.x), ys: g.curves.map((r) => r.y) } }), line_color: c, line_dash: alone ? dash(name) : "solid", line_alpha: alone ? 1 : g.curves.length > 12 ? 0.2 : 0.45, line_width: alone ? 2.5 : 1 });
      const ends = { x: [], y: [], s: [], k: [], status: [] };
      for (const r of g.curves) { const i = r.y.length - 1; ends.x.push(r.x[i]); ends.y.push(r.y[i]); ends.s.push(name); ends.k.push(r.study); ends.status.push(r.hit ? "reached" : r.status); }
      dots.push(p.scatter({ x: f("x"), y: f("y"), source: new Bokeh.ColumnDataSource({ data: ends }), marker: "circle", size: g.curves.length > 12 ? 5 : 8, fill_color: c, line_color: css("--bg") }));
    }
    if (target !== null) p.add_layout(new Bokeh.Span({ location: target, dimension: "width", line_color: css("--fg"), line_dash: "dashed", line_width: 1.5 }));
    p.add_tools(hover(dots, [["", "@s"], ["study", "@k"], ["ended", "@status"], [unit(), "@x{0,0.[00]}"], [facts.metric, "@y{0.0000}"]]));
    return show("metric", p);
  }
  // Return the range of the vertical axis without the first 5 % of each run. They span most of the metric's range, and
  // the rest of the chart would look flat.
  function closeUp(runs, target) {
    const known = (v) => v !== null && !Number.isNaN(v);
    const values = runs.flatMap((r) => r.y.slice(Math.floor(r.y.length / 20))).concat(target).filter(known);
    const every = runs.flatMap((r) => r.y).filter(known);
    const [low, high] = [Math.min, Math.max].map((pick) => values.reduce((a, b) => pick(a, b)));
    const pad = (high - low || 1) * 0.06;
    return { ends: [low - pad, high + pad], clipped: every.some((v) => v < low - pad || v > high + pad) };
  }
  async function drawRates() {
    const rated = (await groups()).map(([name, g]) => [name, g.curves.filter((r) => r.lr.some((v) => v !== null))]).filter(([, runs]) => runs.length);
    if (!rated.length) return show("lr", null);
    const p = figure("lr", [unit(), "learning rate"]), drawn = [];
    for (const [name, mine] of rated) {
      const source = new Bokeh.ColumnDataSource({ data: { xs: mine.map((r) => r[state.x]), ys: mine.map((r) => r.lr.map((v) => v ?? NaN)), s: mine.map(() => name), k: mine.map((r) => r.study) } });
      drawn.push(p.multi_line({ xs: { field: "xs" }, ys: { field: "ys" }, source, line_color: colour(name), line_dash: mine.length > 12 ? "solid" : dash(name), line_width: mine.length > 12 ? 1 : 2, line_alpha: mine.length > 12 ? 0.4 : 0.8 }));
    }
    p.add_tools(hover(drawn, [["", "@s"], ["study", "@k"]]));
    return show("lr", p);
  }
  async function drawSensitivity() {
    const shownGroups = await groups();
    const names = [...new Set(shownGroups.flatMap(([, g]) => Object.entries(g.dots.hparams).filter(([, v]) => v.some((x) => typeof x === "number")).map(([k]) => k)))].sort();
    const chosen = names.includes(state.hp) ? state.hp : names[0];
    options($("hp"), names.map((n) => [n, n]), chosen);
    const facts = factsOf(workload());
    const dots = shownGroups.map(([name, g]) => [name, (g.dots.hparams[chosen] ?? []).map((x, i) => ({ x, best: g.dots.best[i], hit: g.dots.hit[i] })).filter((d) => typeof d.x === "number" && d.best !== null)]).filter(([, d]) => d.length);
    if (!dots.length) return show("sens", null);
    const log = dots.every(([, list]) => list.every((d) => d.x > 0));
    const p = figure("sens", [chosen, `best ${facts.metric}`], { x_axis_type: log ? "log" : "linear" }), drawn = [];
    for (const [name, mine] of dots) {
      const at = new Map();
      for (const d of mine) { if (!at.has(d.x)) at.set(d.x, []); at.get(d.x).push(d.best); }
      const x = [...at.keys()].sort((a, b) => a - b);
      // A line through settings that were drawn at random would be noise.
      if (x.length <= Math.max(12, mine.length / 2)) p.line({ x: { field: "x" }, y: { field: "y" }, source: new Bokeh.ColumnDataSource({ data: { x, y: x.map((v) => median(at.get(v))) } }), line_color: colour(name), line_dash: dash(name), line_alpha: 0.7 });
      const d = { x: mine.map((r) => r.x), y: mine.map((r) => r.best), s: mine.map(() => name), hit: mine.map((r) => (r.hit ? "reached" : "missed")), a: mine.map((r) => (r.hit ? 0.9 : 0.0)) };
      drawn.push(p.scatter({ x: { field: "x" }, y: { field: "y" }, source: new Bokeh.ColumnDataSource({ data: d }), marker: "circle", size: mine.length > 40 ? 5 : 9, line_color: colour(name), fill_color: colour(name), fill_alpha: { field: "a" } }));
    }
    p.add_layout(new Bokeh.Span({ location: facts.target, dimension: "width", line_color: css("--fg"), line_dash: "dashed" }));
    p.add_tools(hover(drawn, [["", "@s"], [chosen, "@x"], ["best", "@y{0.0000}"], ["target", "@hit"]]));
    return show("sens", p);
  }
  function drawProfile() {
    const t = table(), rows = (t?.rows ?? []).filter((r) => !hidden().has(r.submission) && Object.keys(r.ratios).length);
    if (!rows.length) return show("profile", null);
    const p = figure("profile", ["τ (multiple of the best time)", "fraction of workloads"], { x_range: [1, 4], y_range: [-0.03, 1.05] }), drawn = [];
    for (const r of rows) {
      const ratios = Object.values(r.ratios), taus = [1, ...ratios.filter((v) => v !== null && v > 1 && v < 4).sort((a, b) => a - b), 4], x = [], y = [];
      const rho = (tau) => ratios.filter((v) => v !== null && v <= tau).length / ratios.length;
      taus.forEach((tau, i) => { if (i) { x.push(tau); y.push(rho(taus[i - 1])); } x.push(tau); y.push(rho(tau)); });
      drawn.push(p.line({ x: { field: "x" }, y: { field: "y" }, source: new Bokeh.ColumnDataSource({ data: { x, y, s: x.map(() => r.submission) } }), line_color: colour(r.submission), line_dash: dash(r.submission), line_width: 2.5, line_alpha: 0.85 }));
    }
    p.add_tools(hover(drawn, [["", "@s"], ["τ", "@x{0.00}"], ["share", "@y{0%}"]]));
    return show("profile", p);
  }
  function drawLegend() {
    const off = hidden();
    const focused = document.activeElement?.dataset?.legend;
    $("legend").replaceChildren(...[...new Set(Object.values(shown()).flat())].sort().map((s) =>
      el("button", { type: "button", "data-legend": s, "aria-pressed": String(!off.has(s)), onclick: () => { if (off.has(s)) off.delete(s); else off.add(s); set({ hide: [...off].join(",") }, "charts"); } }, dot(s), s)));
    if (focused) $("legend").querySelector(`[data-legend="${CSS.escape(focused)}"]`)?.focus();
  }

  // --- the other tables ------------------------------------------------------------------------
  function plainTable(place, heading, rows, wrap) {
    if (!rows.length) { place.replaceChildren(el("tbody", {}, el("tr", {}, el("td", {}, "None.")))); return; }
    place.replaceChildren(el("thead", {}, el("tr", {}, ...heading.map((h) => el("th", { scope: "col" }, h)))), el("tbody", {}, ...rows.map((row) => el("tr", {}, ...row.map((c, i) => el("td", { class: i === wrap ? "wrap" : null }, c))))));
  }
  // Draw the first rows of a long table, and a button for the others.
  function longTable(id, heading, rows, all, wrap, limit = 100) {
    plainTable($(id), heading, rows.slice(0, limit), wrap);
    const rest = rows.length - limit, beyond = all > rows.length ? ` of ${all.toLocaleString("en")}; harness.load_results reads all runs` : "";
    $("more-" + id).replaceChildren(...(rest > 0 ? [el("button", { type: "button", onclick: () => longTable(id, heading, rows, all, wrap, Infinity) }, `Show ${rest.toLocaleString("en")} more rows${beyond}`)] : beyond ? [`${rows.length.toLocaleString("en")} rows${beyond}`] : []));
  }
  async function drawTables() {
    const t = state.t, rows = await load(t, { missed: [], all_missed: 0, settings: [], all_settings: 0 });
    if (t !== state.t) return;
    longTable("failed", ["submission", "workload", "study", "trial", "status", "reason", "run"], rows.missed.map(([s, w, study, trial, status, why, id, failed]) => [s, w, `${study}`, `${trial}`, el("span", { class: failed ? "miss" : null }, status), why || "–", id]), rows.all_missed, 5);
    const text = (hparams, overrides) => Object.entries(hparams).map(([k, v]) => `${k}=${typeof v === "number" ? number(v, 4) : v}${overrides.includes(k) ? " (override)" : ""}`).join("  ");
    longTable("hparams", ["submission", "workload", "hits", "hyperparameters"], rows.settings.map(([s, w, hits, n, hparams, overrides]) => [s, w, `${hits}/${n}`, text(hparams, overrides) || "–"]), rows.all_settings, 3);
    $("machines").replaceChildren(...data.machines.filter((m) => state.t.startsWith(m.hardware + "|")).map((m) => el("dl", {}, ...Object.entries(m).filter(([, v]) => v !== "" && v !== null).flatMap(([k, v]) => [el("dt", {}, k.replaceAll("_", " ")), el("dd", {}, typeof v === "object" ? Object.entries(v).sort().map(([n, x]) => `${n} ${x}`).join(", ") : String(v))]))));
  }

  function drawMore() {
    const rankings = data.more.filter((g) => g.lead.length), others = data.more.filter((g) => !g.lead.length);
    $("more").hidden = !others.length;
    drawGrids($("grids"), others);
    $("rankings").hidden = !rankings.length;
    drawGrids($("ranking-grids"), rankings);
    // The table with the most submissions is the first one.
    const most = (tables) => Math.max(0, ...tables.map((t) => t.rows.length));
    if (most(rankings) < most(data.tables)) $("leaderboard").after($("rankings"));
  }
  function drawGrids(place, grids) {
    place.replaceChildren(...grids.flatMap((g) => {
      const made = el("table", {});
      plainTable(made, g.heading, g.rows);
      made.prepend(el("caption", {}, el("span", {}, g.title)));
      for (const row of made.querySelectorAll("tr")) { g.right.forEach((i) => row.children[i]?.classList.add("num")); row.children[g.stick]?.classList.add("stick"); }
      const box = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": g.title }, made);
      const notes = g.notes.map((note) => el("p", { class: "dim" }, note));
      return g.lead.length ? [el("p", {}, ...sentences(g.lead)), box, ...notes] : [box, ...notes];
    }));
  }

  // --- all of it -------------------------------------------------------------------------------
  let drawing = Promise.resolve();
  function charts(tables) { drawing = drawing.then(async () => { await drawMetric(); if (tables) await drawTables(); await drawRates(); await drawSensitivity(); await drawProfile(); document.body.dataset.drawn = String(Number(document.body.dataset.drawn ?? 0) + 1); document.body.dataset.drawnAt ??= String(performance.now()); }); return drawing; }
  function render(what = "all") {
    document.documentElement.dataset.theme = state.theme;
    if (what === "board") return drawBoard();
    if (what === "all") {
      options($("t"), data.tables.map((t) => [t.id, t.id.replace("|", " · ") + (t.ranked ? "" : " (unranked)")]), state.t);
      options($("w"), workloads().map((w) => [w, mark(w)]), workload());
      $("x").value = state.x; $("theme").value = state.theme; $("q").value = state.q;
      drawBoard();
      document.body.dataset.boardAt ??= String(performance.now());
    }
    const stages = factsOf(workload())?.stages ?? [];
    $("stages").hidden = !stages.length;
    options($("s"), [["", "all"], ...stages.map((s, i) => [String(i), s.name])], stage() === null ? "" : String(stage()));
    drawLegend();
    return charts(what === "all");
  }
  $("about").textContent = `${data.records} records, AlgoRace ${data.version}`;
  drawMore();
  $("explained").replaceChildren(...data.explained.map((line) => el("li", {}, line)));
  $("controls").addEventListener("submit", (e) => e.preventDefault());
  $("t").addEventListener("change", (e) => set({ t: e.target.value, w: "", s: "", hide: "" }, "all"));
  $("w").addEventListener("change", (e) => set({ w: e.target.value, s: "" }, "charts"));
  $("s").addEventListener("change", (e) => set({ s: e.target.value }, "charts"));
  $("x").addEventListener("change", (e) => set({ x: e.target.value }, "charts"));
  $("hp").addEventListener("change", (e) => set({ hp: e.target.value }, "charts"));
  $("theme").addEventListener("change", (e) => set({ theme: e.target.value }, "all"));
  $("q").addEventListener("input", (e) => set({ q: e.target.value }, "board"));
  document.querySelector("[data-skip]").addEventListener("click", (e) => { e.preventDefault(); $("leaderboard").focus(); $("leaderboard").scrollIntoView(); });
  document.addEventListener("keydown", (e) => { if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName ?? "")) { e.preventDefault(); $("q").focus(); } });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (state.theme === "auto") render("all"); });
  addEventListener("hashchange", () => { read(); render("all"); });
  read();
  render("all");
})();
