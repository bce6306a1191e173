"use strict";
(() => {
  const root = document.documentElement;
  const find = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const SVG = "http://www.w3.org/2000/svg";
  let curves = JSON.parse(find("#curves").textContent);

  /** An element with attributes and children. Text becomes text nodes, never markup. */
  function make(tag, attributes = {}, ...children) {
    const own = ["svg", "line", "path", "polyline", "circle", "text", "title", "g"].includes(tag);
    const element = own ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== null) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  // Theme

  const themes = { auto: "automatic", light: "light", dark: "dark" };
  const themeButton = find("#theme");
  function setTheme(theme) {
    if (theme === "auto") root.removeAttribute("data-theme");
    else root.dataset.theme = theme;
    find("span", themeButton).textContent = themes[theme];
    try { localStorage.setItem("ff-theme", theme); } catch { /* no storage: the choice lasts as long as the page */ }
  }
  let theme = "auto";
  try { theme = localStorage.getItem("ff-theme") in themes ? localStorage.getItem("ff-theme") : "auto"; } catch { /* as above */ }
  setTheme(theme);
  themeButton.hidden = false;
  themeButton.addEventListener("click", () => {
    const names = Object.keys(themes);
    theme = names[(names.indexOf(theme) + 1) % names.length];
    setTheme(theme);
  });

  // Charts

  const WIDTH = 340, HEIGHT = 200, LEFT = 42, RIGHT = 330, TOP = 10, BOTTOM = 162;

  function ticksTo(most) {
    const rough = most / 5, size = 10 ** Math.floor(Math.log10(rough));
    const step = size * ([1, 2, 5, 10].find(n => n * size >= rough) || 10);
    const ticks = [];
    for (let n = 0; n * step <= most * 1.0001; n++) ticks.push(+(n * step).toPrecision(6));
    return ticks;
  }

  /** A figure of series over epochs: {name, epochs, values, phases}. */
  function chart(title, series, { top = null, chance = null } = {}) {
    series.forEach((s, n) => { s.kind = `s${n % 5}`; });
    const present = series.filter(s => s.values.some(v => v !== null));
    if (!present.length) return null;
    const last = Math.max(1, ...present.flatMap(s => s.epochs));
    const most = top || Math.max(1e-9, ...present.flatMap(s => s.values.filter(v => v !== null)));
    const x = epoch => LEFT + (RIGHT - LEFT) * epoch / last;
    const y = value => BOTTOM - (BOTTOM - TOP) * Math.min(value, most) / most;
    const ends = present.map(s => `${s.name} ${s.values.findLast(v => v !== null)}`).join(", ");
    const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title} by epoch; last: ${ends}` });
    for (const tick of ticksTo(most)) svg.append(
      make("line", { class: "grid", x1: LEFT, x2: RIGHT, y1: y(tick), y2: y(tick) }),
      make("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end" }, String(tick)));
    for (const tick of ticksTo(last).filter(Number.isInteger)) svg.append(
      make("line", { class: "tick", x1: x(tick), x2: x(tick), y1: BOTTOM, y2: BOTTOM + 4 }),
      make("text", { x: x(tick), y: BOTTOM + 16, "text-anchor": "middle" }, String(tick)));
    svg.append(make("text", { x: (LEFT + RIGHT) / 2, y: HEIGHT - 4, "text-anchor": "middle" }, "epoch"));
    if (chance !== null) svg.append(make("line", { class: "chance", x1: LEFT, x2: RIGHT, y1: y(chance), y2: y(chance) },
      make("title", {}, `chance: ${chance} %`)));
    for (const s of present) {
      let stretch = [];
      const draw = () => {
        if (stretch.length > 1) svg.append(make("polyline", { class: `curve ${s.kind}`, points: stretch.join(" ") }));
        stretch = [];
      };
      s.values.forEach((value, n) => value === null ? draw() : stretch.push(`${x(s.epochs[n]).toFixed(1)},${y(value).toFixed(1)}`));
      draw();
      if (s.values.length <= 60) s.values.forEach((value, n) => {
        if (value === null) return;
        const phase = { p: "positive", n: "negative", j: "joint" }[s.phases[n]] || "none";
        const where = phase === "joint" || phase === "none" ? "" : `, ended in a ${phase} phase`;
        svg.append(make("circle", { class: `mark ${s.kind} ${phase}`, cx: x(s.epochs[n]).toFixed(1), cy: y(value).toFixed(1), r: 2.5 },
          make("title", {}, `${s.name}, epoch ${s.epochs[n]}: ${value}${where}`)));
      });
    }
    const names = make("span", { class: "keys" });
    if (present.length > 1) for (const s of present) names.append(make("span", { class: `line ${s.kind}` }, s.name), " ");
    return make("figure", {}, make("figcaption", {}, title, present.length > 1 ? make("br") : "", names), svg);
  }

  const accuracy = (place, name) => ({ name, epochs: curves[place].e, values: curves[place].a, phases: curves[place].p });

  function layers(place, key, words, factor = 1) {
    const curve = curves[place];
    return (curve[key] || []).map((values, n) => ({
      name: `layer ${n + 1}${words}`, epochs: curve.e, phases: curve.p,
      values: values.map(v => v === null ? null : +(v * factor).toPrecision(4)),
    }));
  }

  // Details of a run and of a cell: a row of its own below the row of the table

  const rowOf = place => find(`tr[data-place="${place}"]`);
  const text = (row, n) => row.children[n].textContent;

  function values(curve) {
    const table = make("table", {}, make("thead", {}, make("tr", {},
      make("th", { scope: "col" }, "epoch"), make("th", { scope: "col" }, "accuracy in %"))));
    const body = make("tbody");
    curve.e.forEach((epoch, n) => body.append(make("tr", {},
      make("th", { scope: "row" }, String(epoch)), make("td", {}, curve.a[n] === null ? "" : String(curve.a[n])))));
    table.append(body);
    return make("details", {}, make("summary", {}, "Accuracies as a table"), table);
  }

  function runBox(row) {
    const place = row.dataset.place, curve = curves[place], id = row.id.slice(4);
    const list = make("dl");
    for (const [name, value] of curve.settings) list.append(make("dt", {}, name), make("dd", {}, value));
    const command = make("code", {}, `ff show ${find("button.run", row).textContent}`);
    list.append(make("dt", {}, "more"), make("dd", {}, command));
    const figures = [
      chart("Accuracy in %", [accuracy(place, "accuracy")], { top: 100, chance: curve.chance }),
      chart("Goodness, true label", layers(place, "g", "")),
      chart("Goodness, wrong label", layers(place, "w", "")),
      chart("Dead units in %", layers(place, "d", "", 100), { top: 100 }),
    ].filter(Boolean);
    const remarks = ["The dotted line is chance."];
    if (/[pn]/.test(curve.p) && curve.e.length <= 60) remarks.push("Filled: the epoch ended in a positive phase; open: in a negative one.");
    if (curve.thinned) remarks.push("Some epochs are left out of the curves; ff show has all.");
    const columns = make("div", { class: "columns" }, list, ...figures);
    return [columns, figures.length ? make("p", { class: "notes" }, remarks.join(" ")) : "", curve.e.length ? values(curve) : ""];
  }

  function cellBox(button) {
    const places = button.dataset.runs.split(" ").sort((a, b) => text(rowOf(a), 5) - text(rowOf(b), 5));
    const heads = ["run", "protocol", "seed", "status", "epochs", "final %", "best %"];
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads.map(h => make("th", { scope: "col" }, h)))));
    const body = make("tbody");
    for (const place of places) {
      const row = rowOf(place);
      const link = make("a", { href: `#${row.id}` }, find("button.run", row).textContent);
      link.addEventListener("click", event => { event.preventDefault(); showRun(row.id); });
      body.append(make("tr", {}, make("th", { scope: "row" }, link), ...[4, 5, 6, 7, 8, 9].map(n => make("td", {}, text(row, n)))));
    }
    table.append(body);
    const named = row => `${find("button.run", row).textContent}, seed ${text(row, 5)}`;
    const drawn = places.slice(0, 5);
    const figure = chart("Accuracy in %", drawn.map(place => accuracy(place, named(rowOf(place)))),
      { top: 100, chance: curves[places[0]].chance });
    const rest = places.length > drawn.length ? make("p", { class: "notes" }, "The figure shows the first five runs.") : "";
    return [make("h3", {}, button.dataset.title), make("div", { class: "columns" }, table, figure || ""), rest];
  }

  let boxes = 0;
  function open(button) {
    const row = button.closest("tr"), isRun = button.classList.contains("run");
    let after = row;
    while (!isRun && after.nextElementSibling?.classList.contains("opened")) after = after.nextElementSibling;
    const columns = [...row.children].reduce((sum, cell) => sum + cell.colSpan, 0);
    const id = `box-${++boxes}`;
    const box = make("div", { class: "box" }, ...(isRun ? runBox(row) : cellBox(button)));
    after.after(make("tr", { class: "opened", id }, make("td", { colspan: columns }, box)));
    button.setAttribute("aria-expanded", "true");
    button.setAttribute("aria-controls", id);
  }
  function close(button) {
    document.getElementById(button.getAttribute("aria-controls"))?.remove();
    button.setAttribute("aria-expanded", "false");
    button.removeAttribute("aria-controls");
  }
  const isOpen = button => button.getAttribute("aria-expanded") === "true";

  function showRun(id) {
    const row = document.getElementById(id);
    if (row.hidden) { find("#words").value = ""; find("#status").value = ""; arrange(); }
    const button = find("button.run", row);
    if (!isOpen(button)) open(button);
    button.focus({ preventScroll: true });
    row.scrollIntoView({ block: "start" });
  }

  // Sort and filter

  let sorted = null;  // {column, descending}
  const heads = all(".runs > thead th");

  function valueOf(row, column) {
    const cell = row.children[column];
    const given = cell.dataset.value ?? cell.textContent.trim();
    return given === "" ? null : cell.dataset.value !== undefined || cell.classList.contains("number") ? Number(given) : given;
  }

  function compare(a, b) {
    return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  }

  /** Apply the sort order and the filter to the rows. */
  function arrange() {
    const body = find(".runs > tbody");
    if (!body) return;
    const rows = all("tr[data-place]", body);
    rows.sort((a, b) => a.dataset.place - b.dataset.place);
    if (sorted) rows.sort((a, b) => {
      const x = valueOf(a, sorted.column), y = valueOf(b, sorted.column);
      if (x === null || y === null) return (x === null) - (y === null);  // empty ones are last in both directions
      return sorted.descending ? compare(y, x) : compare(x, y);
    });
    const words = find("#words").value.toLowerCase().split(/\s+/).filter(Boolean), status = find("#status").value;
    let shown = 0;
    for (const row of rows) {
      const whole = [...row.children].map(cell => cell.textContent).join(" ").toLowerCase();
      const fits = words.every(word => whole.includes(word)) && (!status || text(row, 6) === status);
      row.hidden = !fits;
      shown += fits;
      const button = find("button.run", row), box = document.getElementById(button.getAttribute("aria-controls"));
      body.append(row);
      if (box) { box.hidden = !fits; body.append(box); }
    }
    heads.forEach((head, column) => {
      if (sorted && sorted.column === column) head.setAttribute("aria-sort", sorted.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    find("#count").textContent = shown === rows.length ? `${shown} runs` : `${shown} of ${rows.length} runs`;
    find("#none").hidden = shown > 0 || rows.length === 0;
  }

  heads.forEach((head, column) => find("button", head).addEventListener("click", () => {
    const first = head.classList.contains("number");  // the largest number first
    if (!sorted || sorted.column !== column) sorted = { column, descending: first };
    else if (sorted.descending === first) sorted.descending = !first;
    else sorted = null;
    arrange();
  }));
  const form = find(".filter");
  if (form) {
    form.hidden = false;
    form.addEventListener("input", arrange);
    form.addEventListener("submit", event => event.preventDefault());
  }
  document.addEventListener("click", event => {
    const button = event.target.closest("button.cell, button.run");
    if (button) isOpen(button) ? close(button) : open(button);
  });
  arrange();

  // A live page asks for a newer version and keeps what its reader did

  const keyOf = element => element.dataset.key || element.closest("tr")?.id || "";
  const selector = "button.cell, button.run";

  function replace(page) {
    const opened = new Set(all(selector).filter(isOpen).map(keyOf));
    const folded = new Map(all("details[data-key]").map(part => [part.dataset.key, part.open]));
    const sideways = all(".scroll").map(each => each.scrollLeft);
    const focused = document.activeElement?.matches(selector + ", summary") ? keyOf(document.activeElement) || keyOf(document.activeElement.parentElement) : "";
    const across = window.scrollX, down = window.scrollY;
    curves = JSON.parse(find("#curves", page).textContent);
    for (const part of ["#summary", "#parts", ".runs > tbody"]) find(part).replaceWith(document.adoptNode(find(part, page)));
    for (const part of all("details[data-key]")) part.open = folded.get(part.dataset.key) ?? part.open;
    all(selector).filter(button => opened.has(keyOf(button))).forEach(open);
    arrange();
    all(".scroll").forEach((each, n) => { each.scrollLeft = sideways[n] || 0; });
    if (focused) {
      const again = all(selector).find(button => keyOf(button) === focused) || find("summary", all("details[data-key]").find(part => part.dataset.key === focused));
      again?.focus({ preventScroll: true });
    }
    window.scrollTo(across, down);
  }

  if ("live" in root.dataset) {
    let version = null;
    const connection = find("#connection");
    const poll = async () => {
      try {
        const headers = version ? { "If-None-Match": version } : {};
        const answer = await fetch(location.pathname, { cache: "no-store", headers });
        if (answer.status === 200) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          if (version !== null || find("#summary", page).textContent !== find("#summary").textContent) replace(page);
          version = answer.headers.get("ETag");
        } else if (answer.status !== 304) throw new Error(answer.statusText);
        connection.textContent = "";
      } catch {
        connection.textContent = "No connection to ff serve: the page shows the last state that it received.";
      }
      setTimeout(poll, 2000);
    };
    setTimeout(poll, 1000);
  }
})();
