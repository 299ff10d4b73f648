// Uses the page as a reader would and says what it saw. The test puts this
// behind the page's program, in its scope; see browser_test.go.
(async () => {
  const saw = {};
  const settled = () => new Promise((done) => setTimeout(done, 30));
  const visit = async (hash) => {
    location.hash = hash;
    await settled();
  };
  const all = (selector) => [...document.querySelectorAll(selector)];
  const texts = (selector) => all(selector).map((e) => e.textContent);
  const shown = () => all("main > section").filter((e) => !e.hidden).map((e) => e.id);
  const press = async (key, target = document.body) => {
    target.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
    await settled();
  };
  const click = async (element) => {
    element.click();
    await settled();
  };
  const button = (view, text) => all(`#view-${view} button`).find((b) => b.textContent === text);

  // Each view by its link and by its key.
  saw.views = [];
  for (let key = 1; key <= 5; key++) {
    await press(String(key));
    saw.views.push(...shown());
  }

  // The overview.
  await visit("#overview");
  saw.tiles = texts("#view-overview .tile b");

  // Every stage is printed as the compiler prints it.
  saw.stages = data.stages.map((st, i) => {
    const read = stage(i);
    return read.lines.map((_, row) => printed(read, row)).join("\n") + "\n";
  });

  // What a pass changed.
  await visit("#stage=cache-formats&from=canonicalise");
  saw.counts = texts("#view-pipeline .count");
  const state = all("#view-pipeline .row").find((r) => r.textContent.startsWith("state @layers.0.attn.window"));
  saw.window = [...state.querySelectorAll(".text")].map((e) => e.textContent);
  saw.differs = [...state.querySelectorAll(".differs")].map((e) => e.textContent).join("");
  await click(button("pipeline", "unified"));
  saw.unified = all("#view-pipeline .cell.removed, #view-pipeline .cell.changed").length > 0 && all("#view-pipeline .row").every((r) => r.querySelectorAll(".cell").length < 2);
  await click(button("pipeline", "side by side"));

  await visit("#stage=check-fused&from=fuse-linear");
  saw.same = texts("#view-pipeline .summary");

  // Folding, and a link to a region.
  await visit("#stage=fuse-hyper&from=input&at=%40embed.hyper");
  saw.pointedAt = texts("#view-pipeline .row.at .right .text");
  await click(document.querySelector('#view-pipeline [data-fold="embed.hyper"]'));
  saw.folded = texts("#view-pipeline .row.at .right .text");
  const before = document.querySelector("#view-pipeline .lines").scrollTop;
  await press("n");
  saw.jumped = document.querySelector("#view-pipeline .lines").scrollTop !== before;

  // Kernels: sorted by bytes, then by name; source of both kinds.
  await visit("#kernel=");
  const firstNames = () => texts("#view-kernels .kernel-table tbody td:first-child");
  saw.byBytes = firstNames();
  await click(all("#view-kernels th button").find((b) => b.textContent === "kernel"));
  saw.byName = firstNames();
  await visit(`#kernel=${data.kernels[data.kernels.length - 1].name}`);
  saw.kernel = texts("#view-kernels .kernel-detail h2")[0];
  const program = () => texts("#view-kernels .code .line").map((line) => line.replace("\u200b", "")).join("\n") + "\n";
  saw.metal = program();
  await click(button("kernels", "kernel IR"));
  saw.ir = program();

  // The step: dispatches, one pointed at, one chosen by key.
  await visit("#step=decode&context=4096&dispatch=3");
  saw.dispatches = new Set(all("#view-timeline [data-i]").map((g) => g.dataset.i)).size;
  saw.chosen = texts("#view-timeline .dispatch-detail h2")[0];
  document.querySelector('#view-timeline [data-i="4"] .frame').dispatchEvent(new MouseEvent("mousemove", {bubbles: true, clientX: 50, clientY: 50}));
  saw.tip = texts("#tip .title")[0];
  await press("ArrowRight", document.querySelector("#view-timeline .strip"));
  saw.next = location.hash;

  // Memory: a rectangle for each buffer.
  await visit("#memory=prefill");
  saw.buffers = all("#view-memory .buffer").length;
  await click(button("memory", "logarithmic"));
  saw.logarithmic = all("#view-memory .buffer").every((r) => Number(r.getAttribute("height")) > 0 && Number(r.getAttribute("y")) >= 0);

  // Search.
  await press("/");
  const box = document.activeElement;
  box.value = "kernel head_decode";
  box.dispatchEvent(new Event("input"));
  saw.found = texts("#found [role=option]");
  await press("Enter", box);
  saw.went = location.hash;
  box.value = "no such thing anywhere";
  box.dispatchEvent(new Event("input"));
  saw.nothing = texts("#found li");

  saw.errors = document.body.dataset.error || "";
  document.body.replaceChildren(h("pre", {id: "saw"}, btoa(unescape(encodeURIComponent(JSON.stringify(saw))))));
})().catch((e) => document.body.replaceChildren(h("pre", {id: "failed"}, `${e.message}\n${e.stack}`)));
