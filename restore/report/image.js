const SVG = "http://www.w3.org/2000/svg";

const HISTOGRAM = { width: 480, height: 170, reach: 4 };

function svg(tag, attributes, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.textContent = text;
  return made;
}

/** The planes' densities before the standard normal one. */
function histogram(planes) {
  const { width, height, reach } = HISTOGRAM;
  const densities = ({ shares }) => shares.map((share) => (share * shares.length) / (2 * reach));
  const top = 1.05 * Math.max(1 / Math.sqrt(2 * Math.PI), ...Object.values(planes).flatMap(densities));
  const base = height - 22;
  const x = (value) => (((value + reach) / (2 * reach)) * width).toFixed(1);
  const y = (density) => (base * (1 - density / top)).toFixed(1);
  const made = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "histogram", role: "img" });
  made.append(svg("title", {}, "Histogram of what was removed, before the normal distribution"));
  const normal = Array.from({ length: 81 }, (_, number) => (number - 40) / 10);
  const curve = normal.map((value) => `${x(value)},${y(Math.exp((-value * value) / 2) / Math.sqrt(2 * Math.PI))}`);
  made.append(svg("path", { class: "normal", d: `M0,${base}L${curve.join("L")}L${width},${base}Z` }));
  for (const [name, plane] of Object.entries(planes)) {
    const bin = (2 * reach) / plane.shares.length;
    const steps = densities(plane).map((density, number) => `V${y(density)}H${x((number + 1) * bin - reach)}`);
    made.append(svg("path", { class: planeClass(name), d: `M0,${base}${steps.join("")}V${base}` }));
  }
  made.append(svg("line", { x1: 0, x2: width, y1: base, y2: base }));
  for (const value of [-3, -2, -1, 0, 1, 2, 3]) {
    made.append(svg("text", { x: x(value), y: height - 6 }, minus(String(value))));
  }
  return made;
}

function planeClass(name) {
  return /^[RGB]\d?$/.test(name) ? `${name[0]} ${name}` : "other";
}

function removedPart({ uri, unit, planes }, width) {
  const picture = element("img", { src: uri, alt: "What was removed", className: "removed-picture" });
  picture.style.width = `${width}px`;
  const number = (value, digits) => (value === null ? "–" : minus(value.toFixed(digits)));
  const lines = Object.entries(planes).map(([name, { mean, deviation, beyond }]) =>
    element(
      "tr",
      {},
      element("td", {}, element("span", { className: `key ${planeClass(name)}`, textContent: name })),
      ...[number(mean, 3), number(deviation, 3), beyond === null ? "–" : `${(100 * beyond).toFixed(3)} %`].map((text) =>
        element("td", { textContent: text }),
      ),
    ),
  );
  const heads = ["plane", "mean", "deviation", "beyond ±4"].map((text) => element("th", { textContent: text }));
  return element(
    "div",
    { className: "removed" },
    element("h3", { textContent: "What was removed from the crop" }),
    element("div", { className: "surround" }, picture),
    element("p", { className: "faint", textContent: `Grey is 0, black and white are 4 ${unit} below and above. It should look like noise, without the scene's edges.` }),
    histogram(planes),
    element("p", { className: "faint", textContent: `In ${unit}; the grey area is the normal distribution.` }),
    scrolling(
      element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...lines)),
      "What was removed, by plane",
    ),
  );
}

class Picture {
  constructor(script) {
    Object.assign(this, JSON.parse(script.textContent), { script });
    this.comparisons = [];
    this.parts = element("div", { className: "parts" });
    this.links = element("span", { className: "faint" });
    const heading = element("header", {}, element("h2", { textContent: this.name }), this.links);
    const warnings = this.warnings.map((text) => element("li", { textContent: `⚠ ${text}` }));
    this.element = element("article", {}, heading);
    if (warnings.length) this.element.append(element("ul", { className: "warnings" }, ...warnings));
    this.element.append(this.parts);
  }

  /** Reads the pictures, the bulk of the page, when the image comes near the window. */
  build() {
    if (this.parts.firstChild) return;
    const { crop, whole, removed } = JSON.parse(this.script.nextElementSibling.textContent);
    this.comparisons = [
      new Comparison(crop, "Crop, pixel by pixel", true),
      new Comparison(whole, "The whole frame", false),
    ];
    const [left, right] = this.comparisons.map((comparison) => element("div", {}, comparison.element));
    if (removed) left.append(removedPart(removed, crop.width));
    right.append(element("div", {}, element("h3", { textContent: "About this image" }), facts(this.facts)));
    if (Object.keys(this.metrics).length) right.append(metricsTable(this.metrics));
    this.parts.append(left, right);
    this.show();
  }

  show() {
    for (const comparison of this.comparisons) comparison.show();
  }

  matches(words) {
    return [this.name, ...this.warnings].join("\n").toLowerCase().includes(words);
  }
}
