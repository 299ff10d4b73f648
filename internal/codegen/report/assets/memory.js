// The view of memory: who lies where in the arena and when; caches; weights.

const memory = {
  step: 0, scale: "linear", zoom: "fit", selected: -1, built: false,

  // open shows the arena of a kind of step: memory, buffer.
  open(params) {
    if (!this.built) this.build();
    const step = data.steps.findIndex((st) => st.kind === params.get("memory"));
    if (step >= 0) this.step = step;
    this.selected = data.steps[this.step].buffers.findIndex((b) => b.name === params.get("buffer"));
    this.renderArena();
  },

  build() {
    this.built = true;
    this.picker = h("div", {class: "fields"});
    this.summary = h("p", {class: "totals"});
    this.plot = h("div", {class: "plot", tabindex: "0", role: "group", "aria-label": "Arena: buffers over levels", on: {
      mousemove: (e) => this.hover(e), mouseleave: hideTip,
      click: (e) => { const i = this.bufferAt(e); if (i !== null) go(this.link(i)); }}});
    this.detail = h("div", {class: "buffer-detail"});
    add(document.getElementById("view-memory"), [
      heading("Arena", "levels from left to right, offsets upwards; a buffer lives from its first use to its last"),
      h("div", {class: "controls"}, this.picker,
        choice("Offsets", [["linear", "linear"], ["log", "logarithmic"]], this.scale, (v) => { this.scale = v; this.renderArena(); }),
        choice("Levels", [["fit", "fit"], ["8", "wide"], ["24", "wider"]], this.zoom, (v) => { this.zoom = v; this.renderArena(); })),
      this.summary, this.plot,
      legend([{key: "act", text: "value"}, {key: "scratch", text: "scratch of a region"}, {key: "result", text: "result of the step"}]),
      this.detail,
      h("div", {class: "columns"}, this.caches(), this.weights())]);
    new ResizeObserver(() => { if (this.plot.clientWidth && this.plot.clientWidth !== this.width) this.renderArena(); }).observe(this.plot);
  },

  link(buffer) {
    const step = data.steps[this.step];
    return `#memory=${step.kind}&buffer=${encodeURIComponent(step.buffers[buffer].name)}`;
  },

  renderArena() {
    const step = data.steps[this.step], live = liveBytes(step);
    const peak = Math.max(...live), at = live.indexOf(peak), sum = step.buffers.reduce((n, b) => n + b.size, 0);
    replace(this.picker, select("Step", data.steps.map((st) => [st.kind, `${st.kind}, up to ${plural(st.maxRows, "row")}`]), step.kind, (v) => go(`#memory=${v}`)));
    replace(this.summary, h("b", {}, bytes(step.arena)), ` arena for ${plural(step.buffers.length, "buffer")} of ${bytes(sum)} in all (reuse ${digits(sum / step.arena)}×); at most `,
      h("b", {}, bytes(peak)), ` live at once, at level ${at}; ${step.arena > peak ? percent(step.arena - peak, step.arena) : "nothing"} is lost to placement.`);
    this.draw(step, live, at);
    this.renderDetail(step);
  },

  draw(step, live, peakLevel) {
    this.width = this.plot.clientWidth;
    const left = 62, curve = 56, height = 380, bottom = 22, levels = step.levels;
    const perLevel = this.zoom === "fit" ? Math.max(0.5, (this.width - left - 12) / levels) : Number(this.zoom);
    const width = left + levels * perLevel + 12, top = curve + 18;
    const x = (level) => left + level * perLevel;
    const unit = (offset) => (this.scale === "linear" ? offset / step.arena : Math.log2(1 + offset / 1024) / Math.log2(1 + step.arena / 1024));
    const y = (offset) => top + height * (1 - unit(offset));
    const svg = s("svg", {width, height: top + height + bottom, "aria-hidden": "true"});
    const text = (tx, ty, content, props) => svg.append(s("text", {x: tx, y: ty, ...props}, content));

    this.drawLive(svg, live, x, curve);
    text(6, 14, "live", {class: "axis"});
    for (const offset of ticksOf(step.arena, this.scale)) {
      svg.append(s("path", {class: "rule", d: `M${left} ${y(offset)}H${width - 12}`}));
      text(left - 6, y(offset) + 4, bytes(offset), {class: "axis", "text-anchor": "end"});
    }
    step.buffers.forEach((b, i) => {
      const rect = {x: x(b.first) + 0.25, y: y(b.offset + b.size), width: Math.max(0.8, (b.last - b.first + 1) * perLevel - 0.5), height: Math.max(0.8, y(b.offset) - y(b.offset + b.size) - 0.5)};
      svg.append(s("rect", {...rect, class: `buffer fill-${b.result ? "result" : b.scratch ? "scratch" : "act"}${i === this.selected ? " selected" : ""}`, "data-i": i}));
      if (rect.height >= 12 && rect.width >= b.name.length * 6.4 + 8) text(rect.x + 4, rect.y + rect.height / 2 + 4, b.name, {class: "inside"});
    });
    const px = x(peakLevel) + perLevel / 2, before = px > width / 2;
    svg.append(s("path", {class: "peak", d: `M${px} ${curve + 4}V${top + height}`}));
    text(px + (before ? -5 : 5), curve + 14, `peak ${bytes(live[peakLevel])}`, {class: "peak-label", "text-anchor": before ? "end" : "start"});
    const every = niceStep(levels / Math.max(2, (width - left) / 90));
    for (let level = 0; level < levels; level += every) text(x(level) + perLevel / 2, top + height + 15, String(level), {class: "axis", "text-anchor": "middle"});
    text(6, top + height + 15, "level", {class: "axis"});
    this.plot.replaceChildren(svg);
  },

  // drawLive draws how many bytes are live at each level.
  drawLive(svg, live, x, height) {
    const most = Math.max(...live), y = (n) => height - (height - 4) * (n / most);
    let d = `M${x(0)} ${height}`;
    live.forEach((n, level) => { d += `L${x(level)} ${y(n)}H${x(level + 1)}`; });
    svg.append(s("path", {class: "live", d: `${d}V${height}Z`}));
  },

  bufferAt(event) {
    const i = event.target.dataset && event.target.dataset.i;
    return i === undefined ? null : Number(i);
  },

  hover(event) {
    const i = this.bufferAt(event);
    if (i === null) return hideTip();
    const b = data.steps[this.step].buffers[i];
    showTip(event, [b.name, ["bytes", `${data.exprs[b.bytes]} ≤ ${bytes(b.size)}`], ["offset", count(b.offset)], ["levels", b.first === b.last ? `${b.first}` : `${b.first}–${b.last}`],
      ["what", b.result ? "result of the step" : b.scratch ? "scratch" : "value"]]);
  },

  renderDetail(step) {
    const users = (buffer) => step.dispatches.flatMap((d, i) => d.args.flatMap((arg, n) =>
      (arg[0] === 0 && arg[1] === buffer ? [{i, d, access: data.kernels[d.k].params[n].access}] : [])));
    const bySize = step.buffers.map((b, i) => ({b, i})).sort((p, q) => q.b.size - p.b.size || p.i - q.i).slice(0, 10);
    const row = ({b, i}) => [h("a", {href: this.link(i)}, b.name), h("span", {title: count(b.size)}, bytes(b.size)), h("code", {}, data.exprs[b.bytes]), count(b.offset), b.first === b.last ? String(b.first) : `${b.first}–${b.last}`,
      h("span", {}, users(i).map((u, n) => [n ? ", " : "", h("a", {class: "minor", href: `#step=${step.kind}&dispatch=${u.i}`, title: data.kernels[u.d.k].name}, `${u.i}`), u.access === "read" ? "" : h("small", {}, " w")]))];
    const columns = [{head: "buffer"}, {head: "size", class: "n"}, {head: "bytes by symbols"}, {head: "offset", class: "n"}, {head: "levels", class: "n"}, {head: "dispatches (w: written)"}];
    const chosen = step.buffers[this.selected];
    replace(this.detail,
      chosen ? [h("h3", {}, chosen.name), table(columns, [row({b: chosen, i: this.selected})])] : null,
      h("details", {open: !chosen}, h("summary", {}, `The largest ${bySize.length} of ${plural(step.buffers.length, "buffer")}`), table(columns, bySize.map(row))));
  },

  caches() {
    const groups = grouped(data.caches, (c) => `${family(c.state)} ${c.stored} ${c.capacity}`, (c) => c.bytes);
    const most = Math.max(...groups.map((g) => g.bytes), 1);
    return h("div", {}, heading("Caches", `${bytes(data.memory.caches)} for ${plural(data.caches.length, "state")}, ${plural(data.options.find((o) => o.name === "slots").value, "slot")}`),
      table([{head: "states"}, {head: "×", class: "n"}, {head: "rows", class: "n", title: "capacity of a slot"}, {head: "row", class: "n", title: "bytes of a row"}, {head: "stored"}, {head: "bytes", class: "n"}, {head: "", class: "wide"}],
        groups.map((g) => [h("span", {title: g.members.map((c) => c.state).join("\n")}, groupName(g.members.map((c) => c.state))), count(g.members.length), [count(g.members[0].capacity), h("small", {}, g.members[0].ring ? " ring" : "")],
          count(g.members[0].rowBytes), g.members[0].stored, bytes(g.bytes), bar([{key: "cache", value: g.bytes}], most)])));
  },

  weights() {
    const groups = grouped(data.weights, (w) => `${family(w.name)} ${w.encoding}`, (w) => w.bytes);
    const most = Math.max(...groups.map((g) => g.bytes), 1), sum = groups.reduce((n, g) => n + g.bytes, 0);
    return h("div", {}, heading("Weights", `${bytes(sum)} of parameters in ${bytes(data.memory.weights)} of files`),
      table([{head: "parameters"}, {head: "×", class: "n"}, {head: "stored"}, {head: "shape", title: "of the first"}, {head: "bytes", class: "n"}, {head: "", class: "wide"}],
        groups.map((g) => [h("span", {title: g.members.map((w) => w.name).join("\n")}, groupName(g.members.map((w) => w.name))), count(g.members.length), g.members[0].encoding,
          h("code", {}, g.members[0].type.replace(/^tensor<|( x f32| x i32)?>$/g, "")), bytes(g.bytes), bar([{key: "weights", value: g.bytes, title: percent(g.bytes, sum)}], most)]), {class: "weights"}));
  },
};

// liveBytes is how many bytes of buffers are live at each level.
function liveBytes(step) {
  const change = new Array(step.levels + 1).fill(0);
  for (const b of step.buffers) {
    change[b.first] += b.size;
    change[b.last + 1] -= b.size;
  }
  let live = 0;
  return change.slice(0, step.levels).map((n) => (live += n));
}

// grouped gathers what has one key, the largest group first.
function grouped(list, key, size) {
  const groups = new Map();
  for (const x of list) {
    if (!groups.has(key(x))) groups.set(key(x), {members: [], bytes: 0});
    const g = groups.get(key(x));
    g.members.push(x);
    g.bytes += size(x);
  }
  return [...groups.values()].sort((p, q) => q.bytes - p.bytes);
}

function groupName(names) {
  return names.length === 1 ? names[0] : family(names[0]);
}

// niceStep rounds up to 1, 2 or 5 times a power of ten.
function niceStep(n) {
  const power = 10 ** Math.floor(Math.log10(Math.max(n, 1)));
  return Math.max(1, [1, 2, 5, 10].map((k) => k * power).find((k) => k >= n));
}

// ticksOf are the offsets that the axis names.
function ticksOf(arena, scale) {
  const out = [];
  if (scale === "linear") {
    const step = niceStep(arena / 6);
    for (let offset = 0; offset <= arena; offset += step) out.push(offset);
    return out;
  }
  for (let offset = 1024; offset <= arena; offset *= 8) out.push(offset);
  return [0, ...out];
}
