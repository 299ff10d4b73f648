// Building pages. Texts are set as text, never as markup.

// h makes an element: h("a", {href: "#x", class: "y", on: {click: f}}, children...).
function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

// The page's own svg element knows the namespace.
const svgNamespace = document.getElementById("svg").namespaceURI;

// s makes an SVG element.
function s(tag, props, ...children) {
  return fill(document.createElementNS(svgNamespace, tag), props, children);
}

function fill(element, props, children) {
  for (const [key, value] of Object.entries(props || {})) {
    if (key === "on") for (const [event, f] of Object.entries(value)) element.addEventListener(event, f);
    else if (key === "style") for (const [name, v] of Object.entries(value)) element.style.setProperty(name, v);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  add(element, children);
  return element;
}

// add puts children, also lists of them, into an element; nothing for null and false.
function add(element, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
}

function replace(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

// table makes a table. Columns are {head, class, title}; rows are lists of
// cells, a cell is content or an element td.
function table(columns, rows, props) {
  const cell = (column, content) => (content instanceof HTMLTableCellElement ? content : h("td", {class: column.class}, content));
  return h("div", {class: "scroll"},
    h("table", props,
      h("thead", {}, h("tr", {}, columns.map((c) => h("th", {class: c.class, title: c.title, scope: "col"}, c.head)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, row.map((content, i) => cell(columns[i], content)))))));
}

// select makes a labelled drop-down of [value, text] pairs.
function select(label, options, value, onchange) {
  const element = h("select", {on: {change: () => onchange(element.value)}},
    options.map(([v, text]) => h("option", {value: v, selected: String(v) === String(value)}, text)));
  return h("label", {class: "field"}, h("span", {}, label), element);
}

// choice makes a row of buttons of which one is pressed.
function choice(label, options, value, onchange) {
  const buttons = options.map(([v, text]) =>
    h("button", {type: "button", "aria-pressed": String(v === value), on: {click: () => {
      for (const b of buttons) b.setAttribute("aria-pressed", String(b.dataset.value === v));
      onchange(v);
    }}, data: {value: v}}, text));
  return h("div", {class: "field", role: "group", "aria-label": label}, h("span", {}, label), h("div", {class: "choice"}, buttons));
}

// bar draws parts of a whole: [{key, value, title}] against the length `most`.
function bar(parts, most, props) {
  return h("div", {class: "bar", ...props}, parts.filter((p) => p.value > 0).map((p) =>
    h("i", {class: `fill-${p.key}`, title: p.title, style: {"flex-basis": `${(100 * p.value) / (most || 1)}%`}})));
}

function legend(parts) {
  return h("ul", {class: "legend"}, parts.map((p) => h("li", {}, h("i", {class: `fill-${p.key}`}), " ", p.text)));
}

// heading makes a section's title with a remark beside it.
function heading(title, remark) {
  return h("div", {class: "heading"}, h("h2", {}, title), remark ? h("p", {}, remark) : null);
}

// showTip shows a tooltip beside a point; content is a list of lines, the
// first a title, or [name, value] pairs.
function showTip(event, lines) {
  const tip = document.getElementById("tip");
  replace(tip, lines.map((line, i) => Array.isArray(line)
    ? h("div", {class: "pair"}, h("span", {}, line[0]), h("b", {}, line[1]))
    : h("div", {class: i === 0 ? "title" : null}, line)));
  tip.hidden = false;
  const at = event.clientX !== undefined ? {x: event.clientX, y: event.clientY} : middle(event.target);
  const box = tip.getBoundingClientRect();
  const left = at.x + 14 + box.width > innerWidth ? Math.max(4, at.x - box.width - 10) : at.x + 14;
  const top = at.y + 14 + box.height > innerHeight ? Math.max(4, at.y - box.height - 10) : at.y + 14;
  tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

function middle(element) {
  const box = element.getBoundingClientRect();
  return {x: box.left + box.width / 2, y: box.bottom - 10};
}

function hideTip() {
  document.getElementById("tip").hidden = true;
}
