// The search box: regions, kernels, values, parameters, states and buffers.

const search = {
  entries: null, found: [], at: -1,

  // index lists what can be found: {kind, name, href}.
  index() {
    if (this.entries) return this.entries;
    const last = data.stages.length - 1, from = Math.max(0, pipeline.latest() - 1), st = stage(last);
    const entries = [];
    data.stages.forEach((p, i) => entries.push({kind: "pass", name: p.name, href: pipeline.link(Math.max(0, i - 1), i)}));
    data.kernels.forEach((k) => entries.push({kind: "kernel", name: k.name, href: `#kernel=${k.name}`}));
    data.regions.forEach((r) => entries.push({kind: "region", name: r.name, note: r.kind, href: regionLink(r.name)}));
    for (const [key, row] of st.at) {
      const text = data.ir[st.lines[row]];
      if (key.startsWith("%")) {
        const own = key.slice(1), name = st.values.has(own) ? `%${st.values.get(own)}` : key;
        entries.push({kind: "value", name, note: (/= (\S+?)[ (]/.exec(text) || [])[1], href: pipeline.link(from, last, key)});
      } else if (/^(param|state) /.test(key)) {
        const [kind, name] = key.split(" ");
        entries.push({kind, name, href: pipeline.link(from, last, key)});
      }
    }
    for (const step of data.steps) {
      for (const b of step.buffers) if (b.scratch) entries.push({kind: "buffer", name: b.name, note: step.kind, href: `#memory=${step.kind}&buffer=${encodeURIComponent(b.name)}`});
    }
    for (const e of entries) e.text = `${e.kind} ${e.name} ${e.note || ""}`.toLowerCase();
    return (this.entries = entries);
  },

  // find returns the entries that have every word, short names first.
  find(query) {
    const wanted = query.toLowerCase().split(/\s+/).filter(Boolean);
    if (!wanted.length) return [];
    const score = (e) => e.name.length + (e.name.toLowerCase().replace(/^[%@]/, "").startsWith(wanted[0].replace(/^[%@]/, "")) ? 0 : 1000);
    return this.index().filter((e) => wanted.every((w) => e.text.includes(w)))
      .map((e, i) => ({e, i, score: score(e)})).sort((x, y) => x.score - y.score || x.i - y.i).map((x) => x.e);
  },

  start() {
    this.box = document.getElementById("search");
    this.list = document.getElementById("found");
    this.box.addEventListener("input", () => this.update());
    this.box.addEventListener("focus", () => this.update());
    this.box.addEventListener("keydown", (e) => this.key(e));
    this.box.addEventListener("blur", () => setTimeout(() => this.close(), 150)); // a click on a result comes first
  },

  update() {
    const all = this.find(this.box.value), most = 40;
    this.found = all.slice(0, most);
    this.at = this.found.length ? 0 : -1;
    replace(this.list, this.found.map((e, i) => h("li", {role: "option", id: `found-${i}`}, h("a", {href: e.href, tabindex: "-1"}, h("small", {}, e.kind), " ", e.name, e.note ? h("small", {}, ` ${e.note}`) : null))),
      all.length > most ? h("li", {class: "more"}, `and ${count(all.length - most)} more`) : null,
      this.box.value.trim() && !all.length ? h("li", {class: "more"}, "nothing has these words") : null);
    this.list.hidden = !this.box.value.trim();
    this.mark();
  },

  mark() {
    [...this.list.children].forEach((li, i) => li.setAttribute("aria-selected", String(i === this.at)));
    this.box.setAttribute("aria-activedescendant", this.at >= 0 ? `found-${this.at}` : "");
    if (this.at >= 0) this.list.children[this.at].scrollIntoView({block: "nearest"});
  },

  key(event) {
    const by = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (by && this.found.length) {
      event.preventDefault();
      this.at = (this.at + by + this.found.length) % this.found.length;
      this.mark();
    } else if (event.key === "Enter" && this.at >= 0) {
      go(this.found[this.at].href);
      this.box.blur();
    } else if (event.key === "Escape") {
      this.box.value = "";
      this.box.blur();
    }
  },

  close() {
    this.list.hidden = true;
  },
};
