// The view of the kernels: a table to sort, and one kernel in full.

const kernels = {
  scenario: 0, sort: "bytes", descending: true, filter: "", source: "text", selected: -1, built: false,

  // open shows the kernel a link names.
  open(params) {
    if (!this.built) this.build();
    const name = params.get("kernel");
    const selected = data.kernels.findIndex((k) => k.name === name);
    if (params.get("source")) this.source = params.get("source");
    if (selected >= 0 && !this.inScenario(selected)) this.scenario = scenarios.findIndex((sc) => this.inScenario(selected, sc));
    this.selected = selected >= 0 ? selected : this.heaviest();
    this.renderTable();
    this.renderDetail();
    const row = this.body.querySelector("[aria-selected=true]");
    if (!row || selected < 0) return;
    row.scrollIntoView({block: "nearest"});
    const below = this.detail.getBoundingClientRect().left <= this.body.getBoundingClientRect().left; // a narrow page
    if (below) this.detail.scrollIntoView({block: "start"});
  },

  inScenario(kernel, sc = scenarios[this.scenario]) {
    return usesOfKernel[kernel][data.steps.indexOf(sc.step)].length > 0;
  },

  heaviest() {
    const costs = data.kernels.map((_, i) => bytesOf(this.cost(i, scenarios[this.scenario])));
    return costs.indexOf(Math.max(...costs));
  },

  // cost adds up a kernel's dispatches of a scenario.
  cost(kernel, {step, scenario}) {
    return addCosts(usesOfKernel[kernel][data.steps.indexOf(step)].map((i) => scenario.costs[i]));
  },

  build() {
    this.built = true;
    this.body = h("div", {class: "kernel-table"});
    this.detail = h("div", {class: "kernel-detail"});
    const filter = h("input", {type: "search", placeholder: "name or kind", on: {input: () => { this.filter = filter.value.toLowerCase(); this.renderTable(); }}});
    add(document.getElementById("view-kernels"), h("div", {class: "split-kernels"},
      h("div", {}, heading("Kernels", "sums over the dispatches of one step"),
        h("div", {class: "controls"}, (this.picker = h("div", {})), h("label", {class: "field"}, h("span", {}, "Filter"), filter)),
        this.body),
      this.detail));
  },

  columns: [
    {key: "name", head: "kernel", of: (r) => r.kernel.name},
    {key: "kind", head: "kind", of: (r) => r.kind, title: "kind of the regions it stands for"},
    {key: "uses", head: "uses", class: "n", of: (r) => r.uses, title: "dispatches in the step"},
    {key: "bytes", head: "bytes", class: "n", of: (r) => r.bytes},
    {key: "share", head: "share", class: "n wide", of: (r) => r.bytes, title: "of the step's bytes"},
    {key: "flops", head: "operations", class: "n", of: (r) => r.flops},
    {key: "intensity", head: "per byte", class: "n", of: (r) => r.intensity, title: "arithmetic intensity: operations per byte moved"},
    {key: "traffic", head: "asked", class: "n", of: (r) => r.asked, title: "bytes its loads and stores ask for, per byte it needs; caches serve the rest"},
    {key: "threads", head: "threads", class: "n", of: (r) => r.kernel.threads, title: "of a threadgroup"},
    {key: "shared", head: "shared", class: "n", of: (r) => r.kernel.shared, title: "bytes of threadgroup memory"},
  ],

  rows() {
    const sc = scenarios[this.scenario];
    return data.kernels.map((kernel, index) => {
      const cost = this.cost(index, sc), moved = bytesOf(cost);
      return {kernel, index, kind: kindsOfKernel[index], uses: usesOfKernel[index][data.steps.indexOf(sc.step)].length, cost,
        bytes: moved, flops: cost[FLOPS], intensity: moved ? cost[FLOPS] / moved : 0, asked: moved ? cost[TRAFFIC] / moved : 0};
    }).filter((r) => r.uses > 0 && `${r.kernel.name} ${r.kind}`.toLowerCase().includes(this.filter));
  },

  renderTable() {
    replace(this.picker, select("Step", scenarios.map((sc, i) => [i, sc.label]), this.scenario, (v) => {
      this.scenario = Number(v);
      this.renderTable();
    }));
    const rows = this.rows(), column = this.columns.find((c) => c.key === this.sort);
    const order = (x, y) => (x < y ? -1 : x > y ? 1 : 0);
    rows.sort((x, y) => (this.descending ? -1 : 1) * order(column.of(x), column.of(y)) || x.index - y.index);
    const total = bytesOf(addCosts(scenarios[this.scenario].scenario.costs));
    const most = Math.max(...rows.map((r) => r.bytes));
    const head = this.columns.map((c) => h("th", {class: c.class, scope: "col", title: c.title, "aria-sort": c.key === this.sort ? (this.descending ? "descending" : "ascending") : null},
      h("button", {type: "button", on: {click: () => this.sortBy(c)}}, c.head)));
    replace(this.body, h("div", {class: "scroll tall"}, h("table", {}, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows.map((r) =>
      h("tr", {"aria-selected": String(r.index === this.selected), on: {click: () => go(`#kernel=${r.kernel.name}`)}},
        h("td", {}, h("a", {href: `#kernel=${r.kernel.name}`}, r.kernel.name)),
        h("td", {}, r.kind),
        h("td", {class: "n"}, count(r.uses)),
        h("td", {class: "n", title: count(r.bytes)}, bytes(r.bytes)),
        h("td", {class: "n wide"}, h("span", {class: "beside"}, h("span", {class: "percent"}, percent(r.bytes, total)),
          bar(classes.map((c) => ({key: c.key, value: c.bytes(r.cost), title: `${c.label} ${bytes(c.bytes(r.cost))}`})), most))),
        h("td", {class: "n"}, flops(r.flops)),
        h("td", {class: "n"}, digits(r.intensity)),
        h("td", {class: "n"}, r.asked ? `${digits(r.asked)}×` : "–"),
        h("td", {class: "n"}, count(r.kernel.threads)),
        h("td", {class: "n"}, r.kernel.shared ? bytes(r.kernel.shared) : "–")))))),
    legend(classes.map((c) => ({key: c.key, text: c.label}))));
  },

  sortBy(column) {
    const numbers = column.class !== undefined;
    this.descending = this.sort === column.key ? !this.descending : numbers;
    this.sort = column.key;
    this.renderTable();
  },

  renderDetail() {
    const k = data.kernels[this.selected];
    replace(this.detail,
      h("div", {class: "heading"}, h("h2", {}, k.name), h("p", {}, k.summary)),
      h("p", {}, h("b", {}, count(k.threads)), ` threads in SIMD groups of ${k.simd}, `, h("b", {}, k.shared ? bytes(k.shared) : "no"), " threadgroup memory. Grid: ", this.grids(), "."),
      k.settings ? table([{head: "chosen"}, {head: "value", class: "n"}, {head: "because"}], k.settings.map((s) => [s.name, s.value, s.why])) : null,
      this.costs(), this.regions(), this.parameters(k), this.program(k));
  },

  // grids are the different grid formulas of a kernel's dispatches.
  grids() {
    const seen = new Set();
    usesOfKernel[this.selected].forEach((uses, n) => uses.forEach((i) =>
      seen.add(data.steps[n].dispatches[i].grid.map((e) => data.exprs[e]).join(" × "))));
    return [...seen].map((g, i) => [i ? "; " : "", h("code", {}, g)]);
  },

  costs() {
    const rows = scenarios.filter((sc) => this.inScenario(this.selected, sc)).map((sc) => {
      const cost = this.cost(this.selected, sc), n = usesOfKernel[this.selected][data.steps.indexOf(sc.step)].length;
      return [sc.label, count(n), bytes(bytesOf(cost)), ...classes.map((c) => bytes(c.bytes(cost))), flops(cost[FLOPS]), bytesOf(cost) ? digits(cost[FLOPS] / bytesOf(cost)) : "–"];
    });
    return table([{head: "step"}, {head: "uses", class: "n"}, {head: "bytes", class: "n"}, ...classes.map((c) => ({head: c.label, class: "n"})), {head: "operations", class: "n"}, {head: "per byte", class: "n"}], rows);
  },

  regions() {
    const places = usesOfKernel[this.selected].flatMap((uses, n) => uses.map((i) => [data.steps[n], i]));
    const names = new Map();
    for (const [step, i] of places) {
      const region = data.regions[step.dispatches[i].r];
      if (!names.has(region.name)) names.set(region.name, `#step=${step.kind}&dispatch=${i}`);
    }
    const families = new Map();
    for (const name of names.keys()) families.set(family(name), [...(families.get(family(name)) || []), name]);
    const list = [...names].map(([name, href]) => h("li", {}, h("a", {href: regionLink(name)}, name), " ", h("a", {href, class: "minor", title: "in the step"}, "in step")));
    return h("details", {open: names.size <= 4}, h("summary", {}, `Stands for ${plural(names.size, "region")}: `, [...families].map(([f, all], i) => `${i ? ", " : ""}${f}${all.length > 1 ? ` (${all.length})` : ""}`)),
      h("ul", {class: "chips"}, list));
  },

  parameters(k) {
    if (!k.params) return null;
    return h("details", {}, h("summary", {}, plural(k.params.length, "parameter")),
      table([{head: "name"}, {head: "type"}, {head: "access"}], k.params.map((p) => [h("code", {}, p.name), h("code", {}, p.type), p.access || "number"])));
  },

  program(k) {
    const body = h("div", {});
    const draw = () => {
      const lines = sourceOf(this.source === "ir" ? k.ir : k.text);
      const button = h("button", {type: "button", on: {click: () => copy(lines.join("\n"), button)}}, "copy");
      replace(body, h("p", {class: "source-head"}, `${plural(lines.length, "line")}`, " ", button), code(lines, this.source === "ir" ? kernelRules : metalRules));
    };
    draw();
    return h("div", {class: "program"}, choice("Source", [["text", data.model.language], ["ir", "kernel IR"]], this.source, (v) => { this.source = v; draw(); }), body);
  },
};

// regionLink leads to a region in the last stage.
function regionLink(name) {
  const last = data.stages.length - 1;
  return pipeline.link(Math.max(0, pipeline.latest() - 1), last, `@${name}`);
}

// copy puts a text on the clipboard and says so on the button.
async function copy(text, button) {
  const area = h("textarea", {class: "copying"});
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy"); // the clipboard API is for pages from servers
  area.remove();
  button.textContent = done ? "copied" : "not allowed";
  setTimeout(() => { button.textContent = "copy"; }, 1500);
}
