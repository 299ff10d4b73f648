// VirtualList shows a long list of rows of equal height and renders those in sight.
class VirtualList {
  // render(i) makes the element of row i.
  constructor(rowHeight, render) {
    this.rowHeight = rowHeight;
    this.render = render;
    this.count = 0;
    this.window = h("div", {class: "window"});
    this.spacer = h("div", {class: "spacer"}, this.window);
    this.element = h("div", {class: "virtual", tabindex: "0", on: {scroll: () => this.draw()}}, this.spacer);
    new ResizeObserver(() => this.draw(true)).observe(this.element);
    addEventListener("beforeprint", () => this.unroll());
    addEventListener("afterprint", () => this.draw(true));
  }

  setCount(n) {
    this.count = n;
    this.spacer.style.height = `${n * this.rowHeight}px`;
    this.draw(true);
  }

  // draw renders the rows in sight, and some more; all again if asked.
  draw(again) {
    const more = 12;
    const from = Math.max(0, Math.floor(this.element.scrollTop / this.rowHeight) - more);
    const to = Math.min(this.count, Math.ceil((this.element.scrollTop + this.element.clientHeight) / this.rowHeight) + more);
    if (!again && from === this.from && to === this.to) return;
    this.show(from, to);
  }

  show(from, to) {
    this.from = from;
    this.to = to;
    const rows = [];
    for (let i = from; i < to; i++) rows.push(this.render(i));
    this.window.replaceChildren(...rows);
    this.window.style.transform = `translateY(${from * this.rowHeight}px)`;
  }

  // unroll renders what is printed: from what is in sight on, some pages.
  unroll() {
    const most = 1500;
    const from = this.count <= most ? 0 : Math.floor(this.element.scrollTop / this.rowHeight);
    this.show(from, Math.min(this.count, from + most));
  }

  first() {
    return Math.floor(this.element.scrollTop / this.rowHeight);
  }

  // reveal scrolls row i to the upper third unless it is in sight.
  reveal(i) {
    const top = i * this.rowHeight, box = this.element;
    if (top < box.scrollTop || top + this.rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top - box.clientHeight / 3;
    this.draw(true);
  }
}
