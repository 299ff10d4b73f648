// Views, links and keys.

const views = {overview, pipeline, kernels, timeline, memory};

// go follows a link of the page; replacing leaves no step in the history.
function go(href, replacing) {
  if (location.hash === href) route();
  else if (replacing) location.replace(href);
  else location.hash = href;
}

// viewOf is the view that a link's first word asks for.
function viewOf(params) {
  const first = params.keys().next().value;
  return {stage: "pipeline", kernel: "kernels", step: "timeline", memory: "memory"}[first] || "overview";
}

// route shows what the address asks for.
function route() {
  const params = new URLSearchParams(location.hash.slice(1)), name = viewOf(params);
  hideTip();
  for (const view of Object.keys(views)) document.getElementById(`view-${view}`).hidden = view !== name;
  for (const a of document.querySelectorAll("nav a")) {
    if (a.dataset.view === name) a.setAttribute("aria-current", "page");
    else a.removeAttribute("aria-current");
  }
  views[name].open(params);
}

function keydown(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") hideTip();
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
  const digit = Object.keys(views)[Number(event.key) - 1];
  if (event.key === "/") {
    event.preventDefault();
    document.getElementById("search").focus();
  } else if (digit) {
    document.querySelector(`nav a[data-view=${digit}]`).click();
  } else if ((event.key === "n" || event.key === "p") && !document.getElementById("view-pipeline").hidden) {
    pipeline.jump(event.key === "n" ? 1 : -1);
  }
}

// fail says on the page that its script has a bug.
function fail(message) {
  document.body.dataset.error = message;
  document.querySelector("main").prepend(h("p", {class: "failed", role: "alert"}, `A bug in this page: ${message}`));
}

function start() {
  addEventListener("error", (e) => fail(e.message));
  addEventListener("unhandledrejection", (e) => fail(String(e.reason)));
  document.getElementById("model").textContent = data.model.name;
  search.start();
  addEventListener("hashchange", route);
  addEventListener("keydown", keydown);
  route();
}
