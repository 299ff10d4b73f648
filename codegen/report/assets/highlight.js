// Light colouring of IR, kernel IR and MSL.

// tokens cuts a line into [class, text] by rules [class, sticky expression].
function tokens(line, rules) {
  const out = [];
  let plain = "", at = 0;
  const flush = () => { if (plain) out.push(["", plain]); plain = ""; };
  scan: while (at < line.length) {
    for (const [kind, expression] of rules) {
      expression.lastIndex = at;
      const m = expression.exec(line);
      if (!m || !m[0]) continue;
      flush();
      out.push([kind, m[0]]);
      at += m[0].length;
      continue scan;
    }
    plain += line[at++];
  }
  flush();
  return out;
}

const irRules = [
  ["comment", /#.*/y],
  ["value", /%[\w.]+/y],
  ["symbol", /@[\w.]+/y],
  ["string", /"[^"]*"/y],
  ["type", /\b(?:tensor|state)(?=<)|\b(?:f32|i32)\b/y],
  ["keyword", /\b(?:module|symbol|input|param|state|region|yields|return|keep|stored)\b/y],
  ["op", /[a-z]\w*(?=[ ({]|$)(?<== \w*)/y],
  ["number", /-?\b\d[\d.]*(?:e[-+]?\d+)?\b/y],
  ["", /\w+/y],
];

const words = (list) => new RegExp(`\\b(?:${list.replace(/ /g, "|")})\\b`, "y");

const codeRules = [
  ["comment", /\/\/.*|^\s*#(?!include|pragma|define|if|endif).*/y],
  ["directive", /^\s*#\w+.*/y],
  ["string", /"[^"]*"/y],
  ["number", /\b(?:0x[\da-fA-F]+|\d[\d.]*(?:e[-+]?\d+)?)[fuhUL]*\b/y],
  ["keyword", words("if else for while do return break continue switch case const constexpr using namespace struct kernel device constant threadgroup thread static inline void let var set store load barrier fragment step param shared read write readwrite")],
  ["type", words("bool int uint long ulong short ushort char uchar half float bfloat u?int[234] float[234] half[234] uchar[234] simdgroup_float8x8 simdgroup_half8x8 i32 u32 f32 i64 u8 u16 f16 u32x[24] f32x[24] i32x[24]")],
  ["op", /\b(?:simd|thread|threadgroup|as_type|precise|metal|fma|exp|log|sqrt|rsqrt|min|max|clamp|floor|rint|select|popcount)\w*(?=\s*[(<:])/y],
  ["", /\w+/y],
];

function coloured(parts) {
  return parts.map(([kind, text]) => (kind ? h("span", {class: `t-${kind}`}, text) : text));
}

// code lists numbered lines of a program.
function code(lines) {
  return h("pre", {class: "code", tabindex: "0"}, lines.map((line, i) =>
    h("div", {class: "line"}, h("span", {class: "number", data: {n: i + 1}}), h("span", {}, coloured(tokens(line, codeRules)), line === "" ? "\u200b" : null))));
}
