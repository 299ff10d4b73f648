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

const metalRules = [
  ["comment", /\/\/.*/y],
  ["directive", /^\s*#\w+.*/y],
  ["string", /"(?:[^"\\]|\\.)*"/y],
  ["number", /\b(?:0x[\da-fA-F]+|\d[\d.]*(?:e[-+]?\d+)?)[fuhUL]*\b/y],
  ["keyword", words("if else for while do return break continue switch case const constexpr using namespace struct kernel device constant threadgroup thread static inline")],
  ["type", words("void bool int uint long ulong short ushort char uchar half float bfloat (?:int|uint|float|half|uchar)[234] simdgroup_(?:float|half)8x8")],
  ["op", /\b(?:simd|thread|threadgroup|as_type|precise|metal|fma|exp|log|sqrt|rsqrt|min|max|clamp|floor|rint|select|popcount)\w*(?=\s*[(<:])/y],
  ["", /\w+/y],
];

const kernelRules = [
  ["comment", /(?<=^\s*(?:doc|comment) )".*/y],
  ["string", /"(?:[^"\\]|\\.)*"/y],
  ["value", /%[\w.]+/y],
  ["keyword", /(?<=^\s*|\} )(?:kernel|doc|schedule|setting|field|pointer|scalar|shared|comment|let|var|set|store|for|if|else|barrier|fragment|load|put|multiply)\b/y],
  ["keyword", words("to by stride transposed read write readwrite")],
  ["symbol", words("device threadgroup step")],
  ["type", /\b(?:bool|[iuf](?:8|16|32|64))(?:x[24])?\b(?!\()/y],
  ["number", /\b\d[\d.]*(?:e[-+]?\d+)?[ulh]?\b|-?\binf\b|\bnan\b/y],
  ["op", /\b[a-z]\w*(?=\()/y],
  ["", /\w+/y],
];

function coloured(parts) {
  return parts.map(([kind, text]) => (kind ? h("span", {class: `t-${kind}`}, text) : text));
}

// code lists numbered lines of a program.
function code(lines, rules) {
  return h("pre", {class: "code", tabindex: "0"}, lines.map((line, i) =>
    h("div", {class: "line"}, h("span", {class: "number", data: {n: i + 1}}), h("span", {}, coloured(tokens(line, rules)), line === "" ? "\u200b" : null))));
}
