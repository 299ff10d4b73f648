// Stages as lists of lines, and what differs between two of them.
//
// In the table of lines every value has a number of its own across all stages
// (see stages.go), so equal lines have equal places in the table. A stage's own
// numbers follow by counting definitions.

// What a row of a comparison is.
const SAME = "same", CHANGED = "changed", REMOVED = "removed", ADDED = "added", MOVED = "moved";

const keyNumbers = new Map();

function keyNumber(key) {
  let n = keyNumbers.get(key);
  if (n === undefined) keyNumbers.set(key, (n = keyNumbers.size));
  return n;
}

const stageCache = [];

// stage returns stage i, read: lines (places in the table), keys (what a line
// defines, as numbers), regions (name of the region a line is in, or null),
// values (own number of each unnamed value), at (line of each key).
function stage(i) {
  if (stageCache[i]) return stageCache[i];
  const lines = unroll(data.stages[i].lines);
  const out = {lines, keys: [], regions: [], heads: new Map(), values: new Map(), at: new Map()};
  let region = null, defined = 0;
  lines.forEach((line, row) => {
    const text = data.ir[line];
    const value = /^(?:input )?%([\w.]+) [:=]/.exec(text);
    if (value) {
      if (/^\d/.test(value[1])) out.values.set(value[1], defined);
      defined++;
    }
    const head = /^region (\w+) @(\S+) \{/.exec(text);
    if (head) {
      region = head[2];
      out.heads.set(region, {row, end: row, kind: head[1]});
    }
    const key = lineKey(text, region);
    out.keys.push(keyNumber(key));
    out.at.set(key, row);
    out.regions.push(region);
    if (text.startsWith("}") && region !== null) {
      out.heads.get(region).end = row;
      region = null;
    }
  });
  return (stageCache[i] = out);
}

// lineKey names what a line is about; it is unique in a stage.
function lineKey(text, region) {
  let m;
  if ((m = /^%([\w.]+) =/.exec(text))) return `%${m[1]}`;
  if ((m = /^region \w+ (@\S+)/.exec(text))) return m[1];
  if (text.startsWith("}")) return `end of @${region}`;
  if ((m = /^input (%[\w.]+)/.exec(text))) return m[1];
  if ((m = /^(param|state|symbol) (\S+)/.exec(text))) return `${m[1]} ${m[2]}`;
  return /^\w*/.exec(text)[0]; // module, return
}

// printed is a line as the stage prints it.
function printed(st, row) {
  const text = data.ir[st.lines[row]].replace(/%(\d+)/g, (all, id) => (st.values.has(id) ? `%${st.values.get(id)}` : all));
  const head = st.regions[row] !== null && st.heads.get(st.regions[row]);
  return head && row > head.row && row < head.end ? `  ${text}` : text;
}

// compare aligns two stages. Rows are {left, right, leftKind, rightKind}: line
// numbers, or -1, and what the line is. Lines about the same thing stand in one
// row unless they changed their order; then they are moved, and stand where each
// stage has them.
function compare(a, b) {
  const placeInB = new Map(b.keys.map((key, row) => [key, row]));
  const partner = a.keys.map((key) => (placeInB.has(key) ? placeInB.get(key) : -1));
  const anchored = new Set(longestAscending(partner));
  const back = new Array(b.keys.length).fill(-1);
  partner.forEach((right, left) => { if (right >= 0) back[right] = left; });

  const rows = [];
  const between = (left, leftEnd, right, rightEnd) => {
    while (left < leftEnd || right < rightEnd) {
      const l = left < leftEnd ? left++ : -1, r = right < rightEnd ? right++ : -1;
      rows.push({left: l, right: r,
        leftKind: l < 0 ? null : partner[l] < 0 ? REMOVED : MOVED,
        rightKind: r < 0 ? null : back[r] < 0 ? ADDED : MOVED});
    }
  };
  let left = 0, right = 0;
  for (let l = 0; l < partner.length; l++) {
    if (!anchored.has(l)) continue;
    between(left, l, right, partner[l]);
    const kind = a.lines[l] === b.lines[partner[l]] ? SAME : CHANGED;
    rows.push({left: l, right: partner[l], leftKind: kind, rightKind: kind});
    left = l + 1;
    right = partner[l] + 1;
  }
  between(left, a.keys.length, right, b.keys.length);

  const counts = {[CHANGED]: 0, [REMOVED]: 0, [ADDED]: 0, [MOVED]: 0};
  for (const row of rows) {
    if (row.leftKind === CHANGED) counts[CHANGED]++;
    if (row.leftKind === REMOVED) counts[REMOVED]++;
    if (row.rightKind === ADDED) counts[ADDED]++;
    if (row.rightKind === MOVED) counts[MOVED]++;
  }
  return {rows, counts, partner, back};
}

// isChange reports whether a row of a comparison shows a difference.
function isChange(row) {
  return (row.leftKind || row.rightKind) !== SAME;
}

// longestAscending returns the places of a longest ascending subsequence of
// the numbers that are not negative.
function longestAscending(numbers) {
  const tails = [], before = new Array(numbers.length).fill(-1);
  numbers.forEach((n, i) => {
    if (n < 0) return;
    let lo = 0, hi = tails.length;
    while (lo < hi) {
      const mid = (lo + hi) >> 1;
      if (numbers[tails[mid]] < n) lo = mid + 1;
      else hi = mid;
    }
    if (lo > 0) before[i] = tails[lo - 1];
    tails[lo] = i;
  });
  const out = [];
  for (let i = tails.length ? tails[tails.length - 1] : -1; i >= 0; i = before[i]) out.push(i);
  return out.reverse();
}

// differing is the range of tokens in which two lists of texts differ:
// {from, leftEnd, rightEnd}.
function differing(left, right) {
  let from = 0, leftEnd = left.length, rightEnd = right.length;
  while (from < leftEnd && from < rightEnd && left[from] === right[from]) from++;
  while (leftEnd > from && rightEnd > from && left[leftEnd - 1] === right[rightEnd - 1]) {
    leftEnd--;
    rightEnd--;
  }
  return {from, leftEnd, rightEnd};
}
