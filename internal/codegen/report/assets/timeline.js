// The view of a step: its dispatches in order, a line for each layer.

const measures = {
  bytes: {text: "bytes", of: (c) => bytesOf(c), print: bytes},
  flops: {text: "operations", of: (c) => c[FLOPS], print: flops},
  time: {text: "time bound", of: (c) => boundOf([c]).seconds, print: duration},
  equal: {text: "equal", of: () => 1, print: (n) => plural(n, "dispatch", "dispatches")},
};

// Sizes of the strip, in pixels: of a line and from one to the next; the least
// width of a dispatch, and what is between two.
const thick = 16, pitch = 24, least = 4, apart = 2;

// usualMost is the largest of the sums that are not far above the others.
function usualMost(sums) {
  const sorted = [...sums].sort((x, y) => x - y), middle = sorted[sorted.length >> 1];
  return Math.max(...sorted.filter((x) => x <= 2 * middle));
}

const timeline = {
  step: 0, scenario: 0, measure: "bytes", selected: 0, built: false,

  // open shows the step a link asks for: step, context, dispatch.
  open(params) {
    if (!this.built) this.build();
    const step = Math.max(0, data.steps.findIndex((st) => st.kind === params.get("step")));
    const at = data.steps[step].scenarios.findIndex((sc) => String(sc.context) === params.get("context"));
    const scenario = at >= 0 ? at : step === this.step ? this.scenario : 0;
    const selected = Math.min(Number(params.get("dispatch")) || 0, data.steps[step].dispatches.length - 1);
    Object.assign(this, {step, scenario, selected});
    this.render();
    if (params.has("dispatch")) this.reveal();
  },

  link(dispatch) {
    const step = data.steps[this.step];
    return `#step=${step.kind}&context=${step.scenarios[this.scenario].context}&dispatch=${dispatch}`;
  },

  build() {
    this.built = true;
    this.picker = h("div", {class: "fields"});
    this.strip = h("div", {class: "strip", tabindex: "0", role: "group", "aria-label": "Dispatches in order; arrow keys move", on: {
      mousemove: (e) => this.hover(e), mouseleave: hideTip, keydown: (e) => this.key(e),
      click: (e) => { const i = this.dispatchAt(e); if (i !== null) go(this.link(i)); }}});
    this.totals = h("div", {});
    this.detail = h("div", {class: "dispatch-detail", "aria-live": "polite"});
    add(document.getElementById("view-timeline"), [
      heading("Step", "dispatches in the order they run, a line for each layer"),
      h("div", {class: "controls"}, this.picker,
        choice("Width", Object.entries(measures).map(([k, m]) => [k, m.text]), this.measure, (v) => { this.measure = v; this.render(); })),
      this.totals,
      h("div", {class: "split-timeline"}, this.strip, this.detail)]);
    new ResizeObserver(() => { if (this.strip.clientWidth && this.strip.clientWidth !== this.width) this.renderStrip(); }).observe(this.strip);
  },

  render() {
    const current = scenarios.findIndex((sc) => sc.step === data.steps[this.step] && sc.scenario === data.steps[this.step].scenarios[this.scenario]);
    replace(this.picker, select("Step", scenarios.map((sc, i) => [i, sc.label]), current, (v) =>
      go(`#step=${scenarios[v].step.kind}&context=${scenarios[v].scenario.context}`)));
    this.renderTotals();
    this.renderStrip();
    this.renderDetail();
  },

  renderTotals() {
    const step = data.steps[this.step], sc = step.scenarios[this.scenario], sum = addCosts(sc.costs);
    const closing = step.kind === "decode" ? " The token closes a block of every ratio that divides the context." : "";
    replace(this.totals,
      h("p", {class: "totals"}, h("b", {}, count(step.own)), " dispatches, ", h("b", {}, count(step.barriers)), " barriers, ", h("b", {}, count(step.commandBuffers)),
        ` command ${step.commandBuffers === 1 ? "buffer" : "buffers"}; `, h("b", {}, bytes(bytesOf(sum))), ` moved, ${digits(bytesOf(sum) / sc.minimum)}× the minimum of ${bytes(sc.minimum)}; `,
        h("b", {}, flops(sum[FLOPS])), " operations.", closing, ` Behind it, where tokens are to be scored, ${plural(step.dispatches.length - step.own, "dispatch", "dispatches")} more.`),
      legend([...classes.map((c) => ({key: c.key, text: `${c.label} ${bytes(c.bytes(sum))} (${percent(c.bytes(sum), bytesOf(sum))})`})),
        {key: "barrier", text: "barrier"}, {key: "buffer", text: "command buffer begins"}]));
  },

  // lanes are runs of dispatches of one layer.
  lanes() {
    const out = [];
    data.steps[this.step].dispatches.forEach((d, i) => {
      const {group} = data.regions[d.r];
      if (!out.length || out[out.length - 1].group !== group) out.push({group, from: i, to: i});
      out[out.length - 1].to = i + 1;
    });
    return out;
  },

  // renderStrip draws all lanes to one scale. A lane that is too long for its
  // line goes on in the next one.
  renderStrip() {
    const step = data.steps[this.step], costs = step.scenarios[this.scenario].costs, measure = measures[this.measure];
    const lanes = this.lanes(), left = innerWidth < 600 ? 66 : 92;
    this.width = this.strip.clientWidth;
    const values = costs.map(measure.of);
    const sums = lanes.map((lane) => values.slice(lane.from, lane.to).reduce((x, y) => x + y, 0));
    const right = Math.max(this.width - 72, left + 120); // there is a line to draw on however narrow the page
    const room = Math.max(80, right - left - Math.max(...lanes.map((l) => (l.to - l.from) * (least + apart))));
    const scale = room / Math.max(usualMost(sums), 1e-30);
    const svg = s("svg", {width: this.width, "aria-hidden": "true"});
    const pen = {svg, x: left, y: 8, left, right};
    lanes.forEach((lane, n) => {
      svg.append(s("text", {x: 0, y: pen.y + 12, class: "lane"}, lane.group));
      for (let i = lane.from; i < lane.to; i++) {
        this.separator(pen, step.dispatches[i], step.dispatches[i - 1]);
        this.mark(pen, i, costs[i], least + values[i] * scale, lane.group);
        pen.x += apart;
      }
      svg.append(s("text", {x: pen.x + 6, y: pen.y + 12, class: "total"}, measure.print(sums[n])));
      pen.x = left;
      pen.y += pitch;
    });
    svg.setAttribute("height", pen.y);
    this.strip.replaceChildren(svg);
    this.select();
  },

  // separator draws the barrier or the beginning of a command buffer before a dispatch.
  separator({svg, x, y}, d, previous) {
    if (previous && (d.cb || 0) !== (previous.cb || 0)) svg.append(s("path", {class: "buffer-begins", d: `M${x - apart / 2} ${y - 5}v${thick + 9}`}));
    else if (d.barrier) svg.append(s("path", {class: "barrier", d: `M${x - apart / 2} ${y - 4}v${thick + 4}`}));
  },

  // mark draws a dispatch, cut by class of memory, and moves the pen.
  mark(pen, i, cost, width, lane) {
    const group = s("g", {class: "dispatch", "data-i": i}), whole = bytesOf(cost);
    const parts = classes.map((c) => [c.key, whole ? (width * c.bytes(cost)) / whole : 0]).filter(([, part]) => part > 0);
    if (!whole) parts.push(["none", width]);
    const frames = [];
    let from = pen.x;
    const frame = () => frames.push({x: from - 0.5, y: pen.y - 1, width: pen.x - from + 1, height: thick + 2});
    for (const [key, part] of parts) {
      for (let rest = part; rest > 1e-6; ) {
        const now = Math.min(rest, pen.right - pen.x);
        group.append(s("rect", {x: pen.x, y: pen.y, width: now, height: thick, class: `fill-${key}`}));
        pen.x += now;
        rest -= now;
        if (rest <= 1e-6) break;
        frame();
        pen.y += pitch;
        pen.x = from = pen.left;
      }
    }
    frame();
    for (const f of frames) group.append(s("rect", {...f, class: whole ? "frame" : "frame idle", rx: 1}));
    const d = data.steps[this.step].dispatches[i], name = data.regions[d.r].name.replace(`${lane}.`, "") + (d.role ? ` ${d.role}` : "");
    if (frames[0].width > name.length * 6.1 + 8) group.append(s("text", {x: frames[0].x + 5, y: frames[0].y + 13, class: "inside"}, name));
    pen.svg.append(group);
  },

  dispatchAt(event) {
    const group = event.target.closest("[data-i]");
    return group ? Number(group.dataset.i) : null;
  },

  hover(event) {
    const i = this.dispatchAt(event);
    if (i === null) return hideTip();
    const d = data.steps[this.step].dispatches[i], c = data.steps[this.step].scenarios[this.scenario].costs[i];
    showTip(event, [`${i} ${data.kernels[d.k].name}`, data.regions[d.r].name + (d.role ? ` (${d.role})` : ""),
      ["grid", `${count(c[0])} × ${count(c[1])} × ${count(c[2])}`], ...classes.filter((k) => k.bytes(c)).map((k) => [k.label, bytes(k.bytes(c))]),
      ["operations", flops(c[FLOPS])], ["per byte", bytesOf(c) ? digits(c[FLOPS] / bytesOf(c)) : "–"]]);
  },

  key(event) {
    const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (!by) return;
    event.preventDefault();
    const i = this.selected + by;
    if (i >= 0 && i < data.steps[this.step].dispatches.length) go(this.link(i), true);
  },

  select() {
    for (const old of this.strip.querySelectorAll(".selected")) old.classList.remove("selected");
    const group = this.strip.querySelector(`[data-i="${this.selected}"]`);
    if (group) group.classList.add("selected");
    return group;
  },

  reveal() {
    const group = this.select();
    if (group) group.scrollIntoView({block: "nearest"});
  },

  renderDetail() {
    const step = data.steps[this.step], d = step.dispatches[this.selected], c = step.scenarios[this.scenario].costs[this.selected];
    const kernel = data.kernels[d.k], region = data.regions[d.r];
    const pairs = [
      ["region", h("a", {href: regionLink(region.name)}, region.name)], ["kind", region.kind], ["role", d.role],
      ["grid", [h("code", {}, d.grid.map((e) => data.exprs[e]).join(" × ")), ` = ${count(c[0])} × ${count(c[1])} × ${count(c[2])}`]],
      ["threads", `${count(kernel.threads)} a threadgroup, ${count(c[0] * c[1] * c[2] * kernel.threads)} in all`],
      ["order", `level ${d.level}${d.barrier ? ", after a barrier" : ", no barrier before it"}, command buffer ${d.cb || 0}`],
      ...classes.map((k) => [k.label, bytes(k.bytes(c))]),
      ["operations", `${flops(c[FLOPS])}${bytesOf(c) ? `, ${digits(c[FLOPS] / bytesOf(c))} per byte` : ""}`],
      ["at least", duration(boundOf([c]).seconds)]];
    replace(this.detail,
      h("div", {class: "heading"}, h("h2", {}, `${this.selected} `, h("a", {href: `#kernel=${kernel.name}`}, kernel.name)), h("p", {}, kernel.summary)),
      h("dl", {}, pairs.filter(([, v]) => v).map(([k, v]) => [h("dt", {}, k), h("dd", {}, v)])),
      table([{head: "parameter"}, {head: "bound to"}, {head: "bytes needed"}], d.args.map((arg, i) => [
        h("code", {title: kernel.params[i].type}, kernel.params[i].name), this.bound(step, arg, kernel.params[i]), h("code", {}, arg[0] === 3 ? "" : data.exprs[arg[2]])])));
  },

  // bound says what an argument is; see argBuffer in steps.go.
  bound(step, [kind, place, , plane], param) {
    const access = param.access && param.access !== "read" ? h("small", {}, ` ${param.access === "write" ? "written" : "read and written"}`) : null;
    switch (kind) {
      case 0: return [h("a", {href: `#memory=${step.kind}&buffer=${encodeURIComponent(step.buffers[place].name)}`}, step.buffers[place].name), access];
      case 1: return [h("span", {class: "c-cache"}, `@${data.caches[place].state}`), access];
      case 2: return [h("span", {class: "c-weights"}, `@${data.weights[place].name}`), h("small", {}, ` ${data.exprs[plane]}`)];
    }
    return h("code", {}, count(place));
  },
};
