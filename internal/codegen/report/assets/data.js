// The data, and what follows from it.

const data = JSON.parse(document.getElementById("data").textContent);

// The columns of a dispatch's cost; see costRow in steps.go.
const WEIGHTS = 3, CACHE_READ = 4, CACHE_WRITE = 5, READ = 6, WRITE = 7, TRAFFIC = 8, FLOPS = 9;

// The classes of memory, in the order they are drawn.
const classes = [
  {key: "weights", label: "weights", bytes: (c) => c[WEIGHTS]},
  {key: "cache", label: "caches", bytes: (c) => c[CACHE_READ] + c[CACHE_WRITE]},
  {key: "act", label: "activations", bytes: (c) => c[READ] + c[WRITE]},
];

function bytesOf(cost) {
  return cost[WEIGHTS] + cost[CACHE_READ] + cost[CACHE_WRITE] + cost[READ] + cost[WRITE];
}

// addCosts sums costs; the grid is left out.
function addCosts(costs) {
  const sum = new Array(10).fill(0);
  for (const c of costs) for (let i = WEIGHTS; i <= FLOPS; i++) sum[i] += c[i];
  return sum;
}

// unroll turns runs (first, how many, ...) into a list.
function unroll(runs) {
  const out = [];
  for (let i = 0; i < runs.length; i += 2) for (let k = 0; k < runs[i + 1]; k++) out.push(runs[i] + k);
  return out;
}

function sourceOf(runs) {
  return unroll(runs).map((i) => data.source[i]);
}

// scenarios are all sizes of all kinds of steps: [{step, scenario, label}].
const scenarios = data.steps.flatMap((step) =>
  step.scenarios.map((scenario) => ({step, scenario, label: `${step.kind}, ${scenarioLabel(step, scenario)}`})));

function scenarioLabel(step, {context, rows}) {
  return `${step.kind === "decode" ? plural(rows, "token") : `chunk of ${count(rows)}`} at ${count(context)}`;
}

// usesOfKernel lists, for each kernel, its dispatches in each kind of step.
const usesOfKernel = data.kernels.map(() => data.steps.map(() => []));
data.steps.forEach((step, n) => step.dispatches.forEach((d, i) => usesOfKernel[d.k][n].push(i)));

// kindsOfKernel are the kinds of regions a kernel stands for.
const kindsOfKernel = usesOfKernel.map((steps) => {
  const kinds = new Set();
  steps.forEach((uses, n) => uses.forEach((i) => kinds.add(data.regions[data.steps[n].dispatches[i].r].kind)));
  return [...kinds].join(", ");
});

// family is a name with the numbers in it left open: layers.*.attn.q.
function family(name) {
  return name.replace(/\.\d+(?=\.|$)/g, ".*");
}

// Numbers for people.

// digits keeps three significant digits of numbers under a thousand.
function digits(x) {
  if (x === 0) return "0";
  if (x >= 99.95) return x.toFixed(0);
  if (x >= 9.995) return x.toFixed(1);
  return x.toFixed(2);
}

function scaled(x, units) {
  let i = 0;
  while (x >= 999.5 && i < units.length - 1) {
    x /= 1000;
    i++;
  }
  return `${i === 0 ? String(Math.round(x)) : digits(x)}\u00a0${units[i]}`;
}

function bytes(n) {
  return scaled(n, ["B", "kB", "MB", "GB", "TB"]);
}

function flops(n) {
  return n === 0 ? "0" : scaled(n, ["", "k", "M", "G", "T"]).trim();
}

// count groups thousands by thin spaces.
function count(n) {
  return String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

function percent(part, whole) {
  if (!whole) return "0\u00a0%";
  const p = (100 * part) / whole;
  return `${p > 0 && p < 0.1 ? "<0.1" : p >= 99.95 ? p.toFixed(0) : p.toFixed(1)}\u00a0%`;
}

function duration(seconds) {
  if (seconds >= 1) return `${digits(seconds)}\u00a0s`;
  if (seconds >= 1e-3) return `${digits(seconds * 1e3)}\u00a0ms`;
  return `${digits(seconds * 1e6)}\u00a0µs`;
}

function plural(n, one, many) {
  return `${count(n)} ${n === 1 ? one : many || `${one}s`}`;
}
