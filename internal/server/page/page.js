"use strict";
// A page to talk with the model. Whatever comes from the server is put in as text.

const at = id => document.getElementById(id);

// make is an element with a class, a text and children.
function make(tag, cls, text, ...children) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (text) e.textContent = text;
  e.append(...children);
  return e;
}

// Paths are relative: behind a proxy the page may lie in a folder.
const chatPath = "chat/completions";
const keyName = "smelt-key";

const turns = [];   // what was said: {role, content, reasoning, view}
let running = null; // the answer on its way
let ready = false;  // the model is open, and we may talk to it

const key = () => sessionStorage.getItem(keyName);

function call(path, options = {}) {
  const headers = {...options.headers};
  if (key()) headers.Authorization = "Bearer " + key();
  return fetch(path, {...options, headers, cache: "no-store"});
}

// ---- Is the model there?

const wait = seconds => new Promise(done => setTimeout(done, seconds * 1000));

function say(text) { at("state").textContent = text; }

function setReady(yes) {
  ready = yes;
  buttons();
}

function buttons() {
  at("send").hidden = running !== null;
  at("stop").hidden = running === null;
  at("send").disabled = !ready || at("text").value.trim() === "";
}

// look waits until the model is open and the key, if one is needed, is right.
async function look() {
  for (;;) {
    try {
      const health = await call("health");
      if (health.ok) break;
      say(health.status === 503 ? "The model is opening. You can write meanwhile." : "The server answers with status " + health.status + ".");
    } catch {
      say("There is no answer from the server; trying again.");
    }
    await wait(1);
  }
  await enter();
}

// enter asks for the model's name, which needs a key where there are keys.
async function enter() {
  let response, answer;
  try {
    response = await call("models");
    answer = await readError(response) ?? await response.json();
  } catch (e) {
    say("There is no answer from the server: " + e.message);
    return;
  }
  if (response.status === 401) return askKey(key() ? answer : "");
  if (!response.ok) return say(answer);
  const model = answer.data[0];
  at("model").textContent = model.id;
  at("model").title = model.id + ", context of " + number(model.max_model_len) + " tokens";
  document.title = model.id + " – smelt";
  say(model.id + ", " + number(model.max_model_len) + " tokens of context");
  at("door").hidden = true;
  setReady(true);
}

function askKey(why) {
  setReady(false);
  say("The model is open.");
  at("door").hidden = false;
  at("refused").hidden = !why;
  at("refused").textContent = why;
  at("key").focus();
}

at("door").addEventListener("submit", event => {
  event.preventDefault();
  sessionStorage.setItem(keyName, at("key").value.trim());
  at("key").value = "";
  enter().then(() => { if (ready) at("text").focus(); });
});

// readError is what an answer that is none says, undefined for one that is.
async function readError(response) {
  if (response.ok) return undefined;
  const text = await response.text();
  let message = text.trim();
  try { message = JSON.parse(text).error.message ?? message; } catch { /* as it is */ }
  return message || "status " + response.status;
}

// ---- What an answer looks like

const number = n => n.toLocaleString("en-US");
const seconds = ms => (ms / 1000).toFixed(ms < 9950 ? 1 : 0) + " s";

// blocks cuts a text into paragraphs and code between fences. The last one may still grow.
function blocks(text) {
  const list = [];
  let code = null, lines = [];
  const flush = () => {
    if (lines.length) list.push({code: false, text: lines.join("\n")});
    lines = [];
  };
  for (const line of text.split("\n")) {
    const fence = /^ {0,3}(`{3,}|~{3,})(.*)$/.exec(line);
    if (code) {
      if (fence && fence[1].startsWith(code.fence) && !fence[2].trim()) code = null;
      else code.text += (code.begun ? "\n" : "") + line, code.begun = true;
    } else if (fence) {
      flush();
      list.push(code = {code: true, text: "", fence: fence[1], begun: false});
    } else if (line === "") flush();
    else lines.push(line);
  }
  flush();
  return list;
}

// inline puts a paragraph in: `code` and **bold** are all it knows.
function inline(into, text) {
  for (const piece of text.split(/(`[^`\n]+`|\*\*[^*\n]+\*\*)/)) {
    if (piece.length > 2 && piece.startsWith("`") && piece.endsWith("`")) into.append(make("code", "", piece.slice(1, -1)));
    else if (piece.length > 4 && piece.startsWith("**") && piece.endsWith("**")) into.append(make("strong", "", piece.slice(2, -2)));
    else if (piece) into.append(piece);
  }
}

// render brings a text's blocks up to date; those that did not change stay as they are.
function render(into, text, old) {
  const list = blocks(text);
  list.forEach((b, i) => {
    if (old[i] && old[i].code === b.code && old[i].text === b.text) return;
    const node = b.code ? make("pre", "", "", make("code", "", b.text)) : make("p");
    if (!b.code) inline(node, b.text);
    if (into.children[i]) into.children[i].replaceWith(node);
    else into.append(node);
  });
  while (into.children.length > list.length) into.lastChild.remove();
  return list;
}

// Answer is the model's turn on the page.
class Answer {
  constructor() {
    this.text = make("div", "text");
    this.text.dir = "auto";
    this.figures = make("span", "figures");
    this.below = make("div", "below", "", this.figures);
    this.node = make("article", "answer waiting", "", this.text, this.below);
    this.shown = [];
    at("talk").append(this.node);
  }

  // reason shows reasoning: open while it comes, folded when the answer begins, unless
  // the reader did either.
  reason(text) {
    if (!this.thinks) {
      this.summary = make("summary", "", "Thinking …");
      this.reasoning = make("div", "reasoning");
      this.reasoning.dir = "auto";
      this.thinks = make("details", "thinks", "", this.summary, this.reasoning);
      this.thinks.open = true;
      this.summary.addEventListener("click", () => { this.touched = true; });
      this.node.prepend(this.thinks);
    }
    this.reasoning.textContent = text;
  }

  fold(took, answered) {
    if (!this.thinks || this.folded) return;
    this.folded = true;
    this.summary.textContent = "Thought for " + seconds(took);
    if (answered && !this.touched) this.thinks.open = false;
  }

  write(text) { this.shown = render(this.text, text, this.shown); }

  note(text, cls = "note") {
    if (text) this.below.before(make("p", cls, text));
  }

  end(buttons) {
    this.node.classList.remove("waiting");
    this.below.append(...buttons);
  }
}

// ---- An answer on its way

// Stream is one request for an answer.
class Stream {
  constructor(view) {
    this.view = view;
    this.abort = new AbortController();
    this.content = this.reasoning = "";
    this.pieces = 0; // each about a token
    this.sent = performance.now();
  }

  async run(body) {
    const response = await call(chatPath, {method: "POST", body: JSON.stringify(body), headers: {"Content-Type": "application/json"}, signal: this.abort.signal});
    const wrong = await readError(response);
    if (wrong !== undefined) throw Object.assign(new Error(wrong), {status: response.status});
    this.view.note(response.headers.get("Smelt-Note"));
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const {value, done} = await reader.read();
      if (done) break;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) if (line.startsWith("data: ")) this.take(line.slice(6));
    }
    if (!this.done) throw new Error("The answer broke off: the server closed the connection.");
  }

  take(data) {
    if (data === "[DONE]") {
      this.done = true;
      return;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Error(chunk.error.message);
    if (chunk.usage) this.usage = chunk.usage;
    for (const w of chunk.smelt?.warnings ?? []) this.view.note(w);
    for (const choice of chunk.choices) {
      if (choice.finish_reason) this.finish = choice.finish_reason;
      this.add(choice.delta.reasoning_content, choice.delta.content);
    }
  }

  add(reasoning, content) {
    if (!reasoning && !content) return;
    this.pieces++;
    this.last = performance.now();
    this.first ??= this.last;
    if (content && !this.content) this.answered = this.last;
    this.reasoning += reasoning ?? "";
    this.content += content ?? "";
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = undefined;
    const near = nearEnd();
    if (this.reasoning) this.view.reason(this.reasoning);
    if (this.content) {
      this.view.fold(this.answered - this.sent, true);
      this.view.write(this.content);
    }
    this.view.figures.textContent = this.rate();
    if (this.usage) this.view.figures.title = "prompt of " + number(this.usage.prompt_tokens) + " tokens, " + number(this.usage.prompt_tokens_details.cached_tokens) + " of them read before";
    if (near) toEnd();
  }

  // rate counts tokens: the server does when it is done, until then there are pieces. A
  // second's are those behind the first.
  rate() {
    if (!this.first) return "";
    const tokens = this.usage?.completion_tokens ?? this.pieces;
    const took = this.last - this.first;
    let text = (this.usage ? "" : "about ") + number(tokens) + (tokens === 1 ? " token" : " tokens");
    if (took > 0 && this.pieces > 1) text += ", " + ((tokens - 1) / took * 1000).toFixed(1) + " tokens/s";
    return text + ", first after " + seconds(this.first - this.sent);
  }
}

const nearEnd = () => at("talk").scrollHeight - at("talk").scrollTop - at("talk").clientHeight < 60;
const toEnd = () => { at("talk").scrollTop = at("talk").scrollHeight; };

// ---- The conversation

function request() {
  const messages = turns.map(t => t.reasoning ? {role: t.role, content: t.content, reasoning_content: t.reasoning} : {role: t.role, content: t.content});
  if (at("system").value.trim()) messages.unshift({role: "system", content: at("system").value});
  const body = {messages, stream: true, stream_options: {include_usage: true}};
  if (at("reasoning").value) body.reasoning_effort = at("reasoning").value;
  if (at("temperature").value) body.temperature = Number(at("temperature").value);
  if (at("tokens").value) body.max_tokens = Number(at("tokens").value);
  return body;
}

// answer asks for the next turn. One of which nothing was answered is no turn: the next
// question is asked together with the one before.
async function answer() {
  for (const b of document.querySelectorAll(".again")) b.remove();
  const view = new Answer(), stream = new Stream(view);
  const body = request();
  running = stream;
  buttons();
  toEnd();
  let failed = "";
  try {
    await stream.run(body);
    if (stream.finish === "length") view.note("The answer ends here because it came to the limit of tokens.");
  } catch (e) {
    if (stream.abort.signal.aborted) failed = "stopped";
    else view.note(broken(e, stream), "wrong"), failed = e;
  }
  if (running === stream) running = null;
  if (!view.node.isConnected) return; // the conversation is another by now
  stream.draw();
  view.fold(stream.last - stream.sent, stream.content !== "");
  if (failed === "stopped") view.note("Stopped.");
  const turn = {role: "assistant", content: stream.content, reasoning: stream.reasoning, view};
  if (stream.content) turns.push(turn);
  view.end([...(stream.content ? [copyButton(turn)] : []), againButton(turn)]);
  buttons();
  toEnd();
  if (failed.status === 401) askKey(failed.message);
  else at("text").focus();
}

// broken says what an error is; the browser's own words do not say of what.
function broken(e, stream) {
  if (!(e instanceof TypeError)) return e.message;
  return (stream.first ? "The answer broke off: " : "There is no answer from the server: ") + e.message;
}

function copyButton(turn) {
  const b = make("button", "quiet", "Copy");
  b.addEventListener("click", async () => {
    await navigator.clipboard.writeText(turn.content);
    b.textContent = "Copied";
    setTimeout(() => { b.textContent = "Copy"; }, 1500);
  });
  return b;
}

function againButton(turn) {
  const b = make("button", "quiet again", "Again");
  b.title = "Have it answered once more";
  b.addEventListener("click", () => {
    if (running || !ready) return;
    if (turns.at(-1) === turn) turns.pop();
    turn.view.node.remove();
    answer();
  });
  return b;
}

function send() {
  const text = at("text").value;
  if (running || !ready || text.trim() === "") return;
  at("hello").hidden = true;
  const said = make("div", "", text);
  said.dir = "auto";
  at("talk").append(make("div", "user", "", said));
  turns.push({role: "user", content: text});
  at("text").value = "";
  grow();
  answer();
}

function stop() { running?.abort.abort(); }

function begin() {
  stop();
  running = null;
  turns.length = 0;
  for (const e of [...at("talk").children]) if (e.id !== "hello") e.remove();
  at("hello").hidden = false;
  buttons();
  at("text").focus();
}

function grow() {
  const text = at("text");
  text.style.height = "auto";
  text.style.height = text.scrollHeight + "px";
  buttons();
}

at("text").addEventListener("input", grow);
at("text").addEventListener("keydown", event => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
at("ask").addEventListener("submit", event => {
  event.preventDefault();
  send();
});
at("stop").addEventListener("click", stop);
at("new").addEventListener("click", begin);
at("settings-button").addEventListener("click", event => {
  const open = at("settings").hidden;
  at("settings").hidden = !open;
  event.currentTarget.setAttribute("aria-expanded", open);
});
document.addEventListener("keydown", event => {
  if (event.key === "Escape" && !event.isComposing) stop();
});

at("text").focus();
look();
