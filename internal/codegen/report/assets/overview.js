// The view with the numbers in short.

// speeds are what the estimate of time goes by; the reader sets them.
const speeds = {bandwidth: 500, compute: 20};

const overview = {
  built: false,

  open() {
    if (this.built) return;
    this.built = true;
    add(document.getElementById("view-overview"), [
      this.head(), this.tiles(), h("div", {class: "columns"}, this.memory(), this.traffic()),
      this.steps(), this.layers(), this.details()]);
  },

  head() {
    const m = data.model;
    return h("div", {class: "intro"}, h("h1", {}, m.name),
      h("p", {}, h("b", {}, m.layout), ` layout, compiled for ${m.target}. `,
        data.options.map((o, i) => [i ? ", " : "", h("span", {title: o.doc}, `${o.name} `, h("b", {}, typeof o.value === "number" ? count(o.value) : o.value))])),
      h("p", {class: "path"}, m.checkpoint));
  },

  tiles() {
    const tile = (value, label, note, href) => h("a", {class: "tile", href}, h("b", {}, value), h("span", {}, label), h("small", {}, note));
    const decode = data.steps[0], last = decode.scenarios[decode.scenarios.length - 1], first = decode.scenarios[0];
    const moved = (sc) => bytesOf(addCosts(sc.costs));
    return h("div", {class: "tiles"},
      data.steps.map((st) => tile(count(st.own), st.kind === "decode" ? "dispatches a decoded token" : `dispatches a prefill chunk of ${count(st.scenarios[0].rows)}`,
        `${plural(st.barriers, "barrier")}, ${plural(st.commandBuffers, "command buffer")}`, `#step=${st.kind}`)),
      tile(bytes(data.memory.peak), "peak memory", "weights, caches, arena, step blocks", "#memory=decode"),
      tile(bytes(moved(first)), `moved a token at ${count(first.context)}`,
        first === last ? `${digits(moved(first) / first.minimum)}× the minimum` : `${bytes(moved(last))} at ${count(last.context)}; ${digits(moved(last) / last.minimum)}× the minimum`, `#step=decode&context=${first.context}`),
      tile(count(data.kernels.length), "kernels", `for ${plural(data.regions.length, "region")}`, "#kernel="));
  },

  memory() {
    const m = data.memory;
    const parts = [["weights", "weights", m.weights, "mapped files"], ["cache", "caches", m.caches, plural(data.caches.length, "state")],
      ["act", "arena", m.arena, "of the larger step"], ["other", "step blocks", m.steps, "both kinds of steps"]];
    return h("div", {}, heading("Memory", "what running takes, known before it starts"),
      table([{head: "what"}, {head: "bytes", class: "n"}, {head: "share", class: "n"}, {head: "", class: "wide"}, {head: "of what"}],
        [...parts.map(([key, label, value, note]) => [label, h("span", {title: count(value)}, bytes(value)), percent(value, m.peak), bar([{key, value}], m.peak), note]),
          [h("b", {}, "peak"), h("b", {title: count(m.peak)}, bytes(m.peak)), "", "", ""]]),
      h("p", {class: "formula", title: "bytes, by context, slots and chunk"}, m.formula));
  },

  // traffic shows what steps move, by class.
  traffic() {
    return h("div", {}, heading("Traffic", "bytes a step needs, each counted once a dispatch"),
      legend(classes.map((c) => ({key: c.key, text: c.label}))),
      data.steps.map((step) => {
        const sums = step.scenarios.map((sc) => addCosts(sc.costs));
        const most = Math.max(...sums.map(bytesOf));
        return table([{head: step.kind}, {head: "bytes", class: "n"}, {head: "minimum", class: "n", title: "each weight and visible cache byte once, nothing else"}, {head: "", class: "wide"}, {head: "operations", class: "n"}],
          step.scenarios.map((sc, i) => [h("a", {href: `#step=${step.kind}&context=${sc.context}`}, scenarioLabel(step, sc)),
            bytes(bytesOf(sums[i])), `${digits(bytesOf(sums[i]) / sc.minimum)}×`,
            bar(classes.map((c) => ({key: c.key, value: c.bytes(sums[i]), title: `${c.label} ${bytes(c.bytes(sums[i]))}`})), most), flops(sums[i][FLOPS])]));
      }));
  },

  // steps bounds the time of steps by speeds the reader gives.
  steps() {
    const body = h("div", {});
    const draw = () => replace(body, table(
      [{head: "step"}, {head: "dispatches", class: "n"}, {head: "barriers", class: "n"}, {head: "command buffers", class: "n"}, {head: "time at least", class: "n"}, {head: "tokens a second at most", class: "n"}, {head: "bound by memory", class: "n", title: "share of the time in dispatches that memory bounds"}],
      scenarios.map(({step, scenario, label}) => {
        const b = boundOf(scenario.costs);
        return [label, count(step.own), count(step.barriers), count(step.commandBuffers), duration(b.seconds), digits(scenario.rows / b.seconds), percent(b.byMemory, b.seconds)];
      })));
    const input = (label, key, unit) => h("label", {class: "field"}, h("span", {}, label),
      h("input", {type: "number", min: "0.1", step: "any", value: speeds[key], on: {input: (e) => {
        if (e.target.valueAsNumber > 0) speeds[key] = e.target.valueAsNumber;
        draw();
      }}}), unit);
    draw();
    return h("div", {}, heading("Steps", "a bound by these speeds: per dispatch the longer of moving its bytes and doing its operations, added up; launches and waits come on top"),
      h("div", {class: "controls"}, input("Memory", "bandwidth", "GB/s"), input("Arithmetic", "compute", "TFLOP/s")), body);
  },

  // layers counts dispatches by layer and kind of region; equal layers share a row.
  layers() {
    return h("div", {class: "columns"}, data.steps.map((step) => {
      const kinds = [...new Set(data.regions.map((r) => r.kind))];
      const groups = new Map();
      for (const d of step.dispatches) {
        const r = data.regions[d.r];
        if (!groups.has(r.group)) groups.set(r.group, kinds.map(() => 0));
        groups.get(r.group)[kinds.indexOf(r.kind)]++;
      }
      const rows = new Map();
      for (const [group, counts] of groups) {
        const key = String(counts) + family(group);
        if (!rows.has(key)) rows.set(key, {counts, groups: []});
        rows.get(key).groups.push(group);
      }
      return h("div", {}, heading(`Dispatches per layer, ${step.kind}`, "by kind of region; equal layers share a row"),
        table([{head: "layers"}, {head: "×", class: "n", title: "how many"}, ...kinds.map((k) => ({head: k, class: "n"})), {head: "each", class: "n"}],
          [...rows.values()].map((row) => [h("span", {title: row.groups.join(", ")}, groupNames(row.groups)), count(row.groups.length),
            ...row.counts.map((n) => (n ? count(n) : h("span", {class: "nil"}, "·"))), h("b", {}, count(row.counts.reduce((x, y) => x + y, 0)))])));
    }));
  },

  details() {
    return h("div", {}, heading("Checkpoint and choices"),
      h("details", {}, h("summary", {}, `${plural(data.model.files.length, "file")} of weights, ${bytes(data.memory.weights)}`),
        table([{head: "file"}, {head: "bytes", class: "n"}], data.model.files.map((f) => [f.name, count(f.bytes)])),
        h("p", {class: "path"}, "config.json SHA-256 ", data.model.config)),
      h("details", {}, h("summary", {}, plural((data.notes || []).length, "choice")), h("ul", {class: "notes"}, (data.notes || []).map((n) => h("li", {}, n)))));
  },
};

// boundOf is the least time of some dispatches at the reader's speeds.
function boundOf(costs) {
  let seconds = 0, byMemory = 0;
  for (const c of costs) {
    const memory = bytesOf(c) / (speeds.bandwidth * 1e9), arithmetic = c[FLOPS] / (speeds.compute * 1e12);
    seconds += Math.max(memory, arithmetic);
    if (memory >= arithmetic) byMemory += memory;
  }
  return {seconds, byMemory};
}

// groupNames is layers.0–3, 5, 7 … 41: the numbers of equal layers, those that
// are equally far apart as a run.
function groupNames(groups) {
  const parts = groups.map((g) => /^(.*)\.(\d+)$/.exec(g));
  if (groups.length === 1 || parts.some((m) => !m)) return groups.join(", ");
  const numbers = parts.map((m) => Number(m[2])), out = [];
  for (let i = 0; i < numbers.length; ) {
    const step = numbers[i + 1] - numbers[i];
    let end = i + 1;
    while (end < numbers.length && numbers[end] - numbers[end - 1] === step) end++;
    if (end - i >= 3 || (step === 1 && end - i === 2)) {
      out.push(step === 1 ? `${numbers[i]}–${numbers[end - 1]}` : `${numbers[i]}, ${numbers[i + 1]} … ${numbers[end - 1]}`);
    } else {
      out.push(numbers[i]);
      end = i + 1;
    }
    i = end;
  }
  return `${parts[0][1]}.${out.join(", ")}`;
}
