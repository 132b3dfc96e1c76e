"use strict";

/** The picture for a side: the one chosen for all, or where an image has none of that name, its own first or second. */
function chosen(names, side) {
  return names.includes(view[side]) ? view[side] : names[side === "left" ? 0 : Math.min(1, names.length - 1)];
}

/** Two of the pictures of one place, parted by a line that a slider or a pointer moves. */
class Comparison {
  /**
   * @param {{width: number, height: number, uris: Object<string, string>}} pictures
   * @param {boolean} atFullSize whether the zoom applies: one pixel of the picture is then one of the screen at 100 %
   */
  constructor(pictures, title, atFullSize) {
    Object.assign(this, { pictures, atFullSize, share: 0.5 });
    this.left = element("img", { draggable: false });
    this.right = element("img", { draggable: false });
    this.area = element("div", { className: "pictures" }, this.left, this.right);
    this.frame = element("div", { className: "frame", role: "region" }, this.area);
    this.handle = element("div", { className: "handle" });
    this.divider = element("div", { className: "divider" }, this.handle);
    this.tags = ["left", "right"].map((side) => element("span", { className: `tag ${side}` }));
    this.overlay = element("div", { className: "overlay" }, ...this.tags, this.divider);
    this.stage = element("div", { className: "stage" }, this.frame, this.overlay);
    this.slider = element("input", { type: "range", min: 0, max: 100, value: 50, className: "slider" });
    this.title = title;
    const kind = atFullSize ? "crop pixels" : "whole";
    const surround = element("div", { className: "surround" }, this.stage);
    this.element = element("div", { className: kind }, element("h3", { textContent: title }), surround, this.slider);
    this.slider.addEventListener("input", () => this.move(this.slider.value / 100));
    this.frame.addEventListener("scroll", () => this.place());
    this.stage.addEventListener("pointerdown", (event) => this.grab(event));
    this.stage.addEventListener("pointermove", (event) => {
      if (this.stage.hasPointerCapture(event.pointerId)) this.follow(event);
    });
    new ResizeObserver(() => this.place()).observe(this.frame);
    this.show();
  }

  /** Shows what is chosen at the top of the page. */
  show() {
    const { uris, width, height } = this.pictures;
    const names = Object.keys(uris);
    ["left", "right"].forEach((side, number) => {
      const name = chosen(names, side);
      if (this[side].alt !== name) Object.assign(this[side], { src: uris[name], alt: name });
      this.tags[number].textContent = name;
    });
    if (this.atFullSize) {
      this.resize((width * view.zoom) / devicePixelRatio, (height * view.zoom) / devicePixelRatio);
    } else {
      Object.assign(this.area.style, { width: `${width}px`, maxWidth: "100%", aspectRatio: `${width} / ${height}` });
    }
    this.move(this.share);
  }

  /** Changes the pictures' size [CSS px]; the place in the middle of the frame stays there. */
  resize(width, height) {
    const { frame } = this;
    const x = (frame.scrollLeft + frame.clientWidth / 2) / frame.scrollWidth;
    const y = (frame.scrollTop + frame.clientHeight / 2) / frame.scrollHeight;
    Object.assign(this.area.style, { width: `${width}px`, height: `${height}px` });
    frame.scrollTo(x * frame.scrollWidth - frame.clientWidth / 2, y * frame.scrollHeight - frame.clientHeight / 2);
  }

  move(share) {
    this.share = Math.min(1, Math.max(0, share));
    this.slider.value = Math.round(100 * this.share);
    const [left, right] = [this.left.alt, this.right.alt];
    this.slider.ariaLabel = `${this.title}: ${left} on the left, ${right} on the right`;
    this.slider.ariaValueText = `${this.slider.value} % ${left}`;
    this.place();
  }

  place() {
    const x = this.share * this.frame.clientWidth;
    this.slider.style.width = `${this.frame.clientWidth}px`;
    // Without the scrollbars, which it must not cover.
    Object.assign(this.overlay.style, { width: `${this.frame.clientWidth}px`, height: `${this.frame.clientHeight}px` });
    this.right.style.clipPath = `inset(0 0 0 ${this.frame.scrollLeft + x}px)`;
    this.divider.style.left = `${x}px`;
    const scrolls = this.frame.scrollWidth > this.frame.clientWidth || this.frame.scrollHeight > this.frame.clientHeight;
    this.stage.classList.toggle("scrolls", scrolls);
    if (scrolls) this.frame.tabIndex = 0;
    else this.frame.removeAttribute("tabindex");
    this.frame.ariaLabel = `${this.title}: arrow keys show other places`;
  }

  /** A mouse moves the line from anywhere; a finger that could also scroll the picture, at the handle alone. */
  grab(event) {
    const box = this.frame.getBoundingClientRect();
    const onScrollbar =
      event.clientY >= box.top + this.frame.clientHeight || event.clientX >= box.left + this.frame.clientWidth;
    const scrolls = this.stage.classList.contains("scrolls") && event.pointerType === "touch";
    const onHandle = event.target === this.handle;
    if (event.button !== 0 || (!onHandle && (onScrollbar || scrolls))) return;
    this.stage.setPointerCapture(event.pointerId);
    this.follow(event);
  }

  follow(event) {
    const box = this.frame.getBoundingClientRect();
    this.move((event.clientX - box.left) / this.frame.clientWidth);
  }
}
