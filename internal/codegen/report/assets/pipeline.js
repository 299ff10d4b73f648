// The view of the passes: their reports, and any two stages side by side.

const signs = {[SAME]: "", [CHANGED]: "~", [REMOVED]: "−", [ADDED]: "+", [MOVED]: "↕"};
const context = 3; // equal lines shown around a change

const pipeline = {
  from: 0, to: 0, names: [], mode: "split", show: "changes",
  folded: new Set(), // names of regions
  opened: new Set(), // rows at which hidden equal lines were opened
  at: null, // key of the line that is pointed out
  built: false,

  // open shows the stages a link asks for: stage, from, at.
  open(params) {
    if (!this.built) this.build();
    const named = (name) => data.stages.findIndex((st) => st.name === name);
    let to = named(params.get("stage"));
    if (to < 0) to = this.latest();
    let from = named(params.get("from"));
    if (from < 0) from = Math.max(0, to - 1);
    if (params.get("show")) this.show = params.get("show") === "all" ? "all" : "changes";
    if (from !== this.from || to !== this.to) this.opened.clear();
    Object.assign(this, {from, to, at: params.get("at")});
    this.refresh();
    if (this.at) this.reveal(this.at);
  },

  // latest is the last stage that differs from the one before.
  latest() {
    for (let i = data.stages.length - 1; i > 0; i--) {
      if (String(data.stages[i].lines) !== String(data.stages[i - 1].lines)) return i;
    }
    return data.stages.length - 1;
  },

  link(from, to, at) {
    const params = new URLSearchParams({stage: data.stages[to].name, from: data.stages[from].name});
    if (at) params.set("at", at);
    return `#${params}`;
  },

  build() {
    this.built = true;
    if (innerWidth < 900) this.mode = "unified";
    this.names = data.stages.map((st, i) => [i, `${i} ${st.name}`]);
    this.titles = h("div", {class: "titles"});
    this.list = new VirtualList(20, (i) => this.renderItem(this.items[i]));
    this.list.element.classList.add("lines");
    this.list.element.setAttribute("aria-label", "Lines of both stages");
    this.list.element.addEventListener("mouseover", (e) => this.markValue(e));
    this.list.element.addEventListener("click", (e) => this.follow(e));
    this.list.element.addEventListener("wheel", (e) => { if (e.deltaX) this.slider.scrollLeft += e.deltaX; }, {passive: true});
    this.list.element.addEventListener("scroll", () => this.drawMap());
    this.slider = h("div", {class: "slider", "aria-label": "Scroll lines sideways", on: {scroll: () =>
      this.list.element.style.setProperty("--x", `${-this.slider.scrollLeft}px`)}}, h("div", {}));
    this.map = h("canvas", {class: "map", "aria-hidden": "true", on: {click: (e) => {
      this.list.element.scrollTop = (e.offsetY / this.map.clientHeight) * this.list.count * 20 - this.list.element.clientHeight / 2;
    }}});
    this.passes = h("ol", {class: "passes", start: "0"});
    this.report = h("div", {class: "report"});
    this.summary = h("p", {class: "summary", role: "status"});
    this.selects = h("div", {class: "fields"});
    const step = (by, text, title) => h("button", {type: "button", title, on: {click: () => this.jump(by)}}, text);
    add(document.getElementById("view-pipeline"), [
      h("div", {class: "split-pipeline"},
        h("div", {class: "side"}, heading("Passes"), this.passes),
        h("div", {class: "stages"},
          this.report,
          h("div", {class: "controls"}, this.selects,
            choice("View", [["split", "side by side"], ["unified", "unified"]], this.mode, (v) => { this.mode = v; this.refresh(); }),
            choice("Lines", [["changes", "changes"], ["all", "all"]], this.show, (v) => { this.show = v; this.refresh(); }),
            h("div", {class: "field"}, h("span", {}, "Regions"), h("div", {class: "choice"},
              h("button", {type: "button", on: {click: () => this.foldAll(true)}}, "fold"),
              h("button", {type: "button", on: {click: () => this.foldAll(false)}}, "unfold"))),
            h("div", {class: "field"}, h("span", {}, "Change"), h("div", {class: "choice"},
              step(-1, "↑", "Previous change (p)"), step(1, "↓", "Next change (n)")))),
          this.summary,
          this.titles,
          h("div", {class: "with-map"}, this.list.element, this.map),
          this.slider))]);
  },

  refresh() {
    const a = (this.a = stage(this.from)), b = (this.b = stage(this.to));
    this.comparison = compare(a, b);
    this.renderPasses();
    this.renderReport();
    replace(this.selects,
      select("From", this.names, this.from, (v) => go(this.link(Number(v), this.to))),
      select("To", this.names, this.to, (v) => go(this.link(this.from, Number(v)))));
    replace(this.titles, this.mode === "split"
      ? [h("span", {}, data.stages[this.from].name), h("span", {}, data.stages[this.to].name)]
      : h("span", {}, `${data.stages[this.from].name} → ${data.stages[this.to].name}`));
    this.renderSummary();
    this.renderLines();
  },

  renderPasses() {
    const most = Math.max(...data.stages.map((st) => st.after));
    replace(this.passes, data.stages.map((st, i) => {
      const same = i > 0 && String(st.lines) === String(data.stages[i - 1].lines);
      return h("li", {}, h("a", {href: this.link(Math.max(0, i - 1), i), class: same ? "quiet" : null, title: st.doc, "aria-current": i === this.to ? "true" : null},
        h("b", {}, st.name),
        h("span", {class: "amount"}, i === 0 || st.before === st.after ? count(st.after) : `${count(st.before)} → ${count(st.after)}`),
        bar([{key: "accent", value: st.after}], most),
        h("small", {}, same ? "changes nothing" : st.rules ? st.rules.map((r) => `${r.name} ${count(r.count)}`).join(", ") : plural(st.regions, "region"))));
    }));
  },

  renderReport() {
    const st = data.stages[this.to];
    replace(this.report,
      h("div", {class: "heading"}, h("h2", {}, st.name), h("p", {}, st.doc)),
      h("p", {}, `${plural(st.before, "operation")} before, ${count(st.after)} after, ${plural(st.regions, "region")}`,
        st.rules ? [". Rules fired: ", st.rules.map((r, i) => [i ? ", " : "", h("b", {}, r.name), ` ${count(r.count)}×`])] : null, "."),
      st.notes && st.notes.length ? h("details", {}, h("summary", {}, plural(st.notes.length, "choice")), h("ul", {class: "notes"}, st.notes.map((n) => h("li", {}, n)))) : null);
  },

  renderSummary() {
    const c = this.comparison.counts;
    const parts = [[ADDED, "added"], [REMOVED, "removed"], [CHANGED, "changed"], [MOVED, "moved"]].filter(([kind]) => c[kind] > 0);
    replace(this.summary, parts.length === 0
      ? `No line differs between ${data.stages[this.from].name} and ${data.stages[this.to].name}.`
      : parts.map(([kind, word]) => h("span", {class: `count ${kind}`}, h("b", {}, signs[kind]), ` ${plural(c[kind], "line")} ${word}`)));
  },

  // renderLines makes the list of what is shown: rows of the comparison, and
  // gaps where equal lines are hidden.
  renderLines() {
    const rows = this.withoutFolded();
    const keep = new Uint8Array(rows.length);
    const all = this.show === "all" || this.from === this.to;
    rows.forEach((item, i) => {
      const open = isChange(item.row) || item.changes > 0 || this.opened.has(item.row) || this.pointedAt(item.row);
      if (all || open) keep.fill(1, Math.max(0, i - (all ? 0 : context)), i + 1 + (all ? 0 : context));
    });
    this.items = [];
    for (let i = 0; i < rows.length; ) {
      if (keep[i]) {
        this.addLines(rows[i++]);
        continue;
      }
      const hidden = [];
      while (i < rows.length && !keep[i]) hidden.push(rows[i++].row);
      this.items.push({gap: hidden});
    }
    const longest = this.items.reduce((most, item) => (item.gap ? most : Math.max(most, item.length)), 0);
    this.slider.firstChild.style.width = `calc(${longest + 8}ch + ${this.mode === "split" ? "50%" : "0%"})`;
    this.list.element.dataset.mode = this.mode;
    this.list.setCount(this.items.length);
    this.drawMap();
  },

  // withoutFolded leaves out what is inside of folded regions.
  withoutFolded() {
    const out = [];
    let fold = null;
    for (const row of this.comparison.rows) {
      const st = row.right >= 0 ? this.b : this.a, line = row.right >= 0 ? row.right : row.left;
      const region = st.regions[line];
      if (region === null || !this.folded.has(region)) {
        out.push({row, changes: 0});
        fold = null;
      } else if (st.heads.get(region).row === line) {
        out.push((fold = {row, region, hidden: 0, changes: 0}));
      } else if (fold && fold.region === region) {
        fold.hidden++;
        if (isChange(row)) fold.changes++;
      }
    }
    return out;
  },

  addLines(item) {
    const {row} = item;
    const push = (left, right) => {
      const length = Math.max(left >= 0 ? data.ir[this.a.lines[left]].length : 0, right >= 0 ? data.ir[this.b.lines[right]].length : 0);
      this.items.push({...item, left, right, length});
    };
    if (this.mode === "split" || row.leftKind === SAME) push(row.left, row.right);
    else {
      if (row.left >= 0) push(row.left, -1);
      if (row.right >= 0) push(-1, row.right);
    }
  },

  renderItem(item) {
    if (item.gap) {
      return h("div", {class: "row gap"}, h("button", {type: "button", on: {click: () => {
        for (const row of item.gap) this.opened.add(row);
        this.renderLines();
      }}}, `⋯ ${plural(item.gap.length, "equal line")}`));
    }
    const at = this.pointedAt(item.row) ? " at" : "";
    const left = this.cell(this.a, item.left, item.row.leftKind, item, "left");
    const right = this.cell(this.b, item.right, item.row.rightKind, item, "right");
    if (this.mode === "split") return h("div", {class: `row${at}`}, left, right);
    return h("div", {class: `row${at}`}, item.left >= 0 && item.row.leftKind !== SAME ? left : right);
  },

  // cell is a line of one stage: its number, what it is, and its text.
  cell(st, line, kind, item, side) {
    if (line < 0) return h("div", {class: `cell none ${side}`});
    const region = st.regions[line], head = region !== null ? st.heads.get(region) : null;
    const isHead = head && head.row === line;
    const parts = tokens(data.ir[st.lines[line]], irRules);
    let mark = null;
    if (kind === CHANGED) {
      const other = side === "left" ? tokens(data.ir[this.b.lines[item.row.right]], irRules) : tokens(data.ir[this.a.lines[item.row.left]], irRules);
      const d = differing(parts.map((p) => p[1]), other.map((p) => p[1]));
      mark = [d.from, d.leftEnd];
    }
    return h("div", {class: `cell ${kind} ${side}`, title: this.explain(kind, item, side)},
      h("span", {class: "number", data: {n: line + 1}}),
      h("span", {class: "sign", data: {n: signs[kind]}}),
      h("span", {class: "text"}, h("span", {class: "shift"},
        isHead ? h("button", {type: "button", class: "fold", "aria-expanded": String(!this.folded.has(region)), "aria-label": `Region ${region}`, data: {fold: region}}, this.folded.has(region) ? "▸" : "▾") : head && line < head.end ? "  " : null,
        parts.map((part, i) => this.token(st, part, mark && i >= mark[0] && i < mark[1])),
        item.hidden ? h("span", {class: "hidden"}, ` … ${plural(head.end - head.row - 1, "operation")}${item.changes ? `, ${plural(item.changes, "change")}` : ""}`) : null)));
  },

  token(st, [kind, text], marked) {
    const shown = kind === "value" && st.values.has(text.slice(1)) ? `%${st.values.get(text.slice(1))}` : text;
    const span = kind || marked ? h("span", {class: `t-${kind}${marked ? " differs" : ""}`}, shown) : shown;
    if (kind === "value" || kind === "symbol") span.dataset.v = text;
    return span;
  },

  // explain says where a moved line stands in the other stage.
  explain(kind, item, side) {
    if (kind !== MOVED) return null;
    return side === "left"
      ? `moved: line ${this.comparison.partner[item.row.left] + 1} of ${data.stages[this.to].name}`
      : `moved: line ${this.comparison.back[item.row.right] + 1} of ${data.stages[this.from].name}`;
  },

  pointedAt(row) {
    if (!this.at) return false;
    return (row.right >= 0 && row.right === this.b.at.get(this.at)) || (row.left >= 0 && row.left === this.a.at.get(this.at));
  },

  // markValue marks all places in sight of the value under the pointer.
  markValue(event) {
    const value = event.target.dataset && event.target.dataset.v;
    if (value === this.marked) return;
    this.marked = value;
    for (const span of this.list.element.querySelectorAll("[data-v]")) span.classList.toggle("marked", value !== undefined && span.dataset.v === value);
  },

  // follow folds a region, or goes to where a value or symbol is defined.
  follow(event) {
    const {fold, v} = event.target.dataset;
    if (fold !== undefined) {
      if (!this.folded.delete(fold)) this.folded.add(fold);
      this.renderLines();
    } else if (v !== undefined && !getSelection().toString()) {
      const key = [v, `param ${v}`, `state ${v}`].find((k) => this.b.at.has(k) || this.a.at.has(k));
      if (key) go(this.link(this.from, this.to, key));
    }
  },

  foldAll(fold) {
    this.folded = new Set(fold ? [...this.a.heads.keys(), ...this.b.heads.keys()] : []);
    this.renderLines();
  },

  // reveal scrolls to the line with a key, unfolding its region.
  reveal(key) {
    const line = this.b.at.get(key);
    const region = line === undefined ? undefined : this.b.regions[line];
    if (region && this.folded.delete(region)) this.renderLines();
    const i = this.items.findIndex((item) => !item.gap && this.pointedAt(item.row));
    if (i >= 0) this.list.reveal(i);
  },

  // jump scrolls to the next or previous change.
  jump(by) {
    const change = (i) => i >= 0 && i < this.items.length && !this.items[i].gap && (isChange(this.items[i].row) || this.items[i].changes > 0);
    let i = this.list.first() + (by > 0 ? context + 1 : context - 1);
    while (i >= 0 && i < this.items.length && !(change(i) && !change(i - 1))) i += by;
    if (i >= 0 && i < this.items.length) this.list.element.scrollTop = (i - context) * 20;
  },

  // drawMap draws where changes are, over the height of the list.
  drawMap() {
    const ratio = devicePixelRatio || 1, {clientWidth: width, clientHeight: height} = this.map;
    if (!width || !this.items) return;
    this.map.width = width * ratio;
    this.map.height = height * ratio;
    const g = this.map.getContext("2d"), style = getComputedStyle(this.map);
    g.scale(ratio, ratio);
    const row = height / Math.max(this.items.length, height / 20);
    this.items.forEach((item, i) => {
      if (item.gap) return;
      for (const [kind, side] of [[item.left >= 0 && item.row.leftKind, 0], [item.right >= 0 && item.row.rightKind, 1]]) {
        if (!kind || kind === SAME) continue;
        g.fillStyle = style.getPropertyValue(`--${kind}-strong`);
        g.fillRect(side * (width / 2) + 1, i * row, width / 2 - 2, Math.max(row, 1));
      }
    });
    g.strokeStyle = style.getPropertyValue("--muted");
    g.strokeRect(0.5, (this.list.element.scrollTop / 20) * row, width - 1, Math.max(4, (this.list.element.clientHeight / 20) * row));
  },
};
