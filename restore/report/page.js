const report = JSON.parse(document.getElementById("report").textContent);
const view = { left: "", right: "", zoom: 1 };

/** A new element. Text goes in as text, never as markup: names of files may hold any character. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function facts(named) {
  const lines = Object.entries(named).flatMap(([name, text]) => [
    element("dt", { textContent: name }),
    element("dd", { textContent: text }),
  ]);
  return element("dl", { className: "facts" }, ...lines);
}

function table(title, columns, rows) {
  const heads = columns.map((name) => element("th", { scope: "col", textContent: name }));
  const cells = (row) => row.map((text) => element("td", { textContent: text }));
  return element(
    "table",
    {},
    element("caption", { textContent: title }),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row)))),
  );
}

/** An element that scrolls sideways where the window is narrower than its content. */
function scrolling(content, label) {
  return element("div", { className: "scroll", tabIndex: 0, role: "region", ariaLabel: label }, content);
}

// ---- metrics ----

function metricText(name, value, signed = false) {
  if (value === null || value === undefined) return "–";
  const bias = name.startsWith("bias");
  const sign = (signed || bias) && value >= 0 ? "+" : "";
  const text = bias ? `${(100 * value).toFixed(2)} %` : value.toFixed(name.startsWith("psnr") ? 2 : 4);
  return sign + minus(text);
}

function minus(text) {
  return text.replace("-", "−");
}

/** What restoring changed in a metric, and whether to the worse; null where it is not known or no such question. */
function change(metrics, name) {
  const baseline = Object.keys(metrics).find((picture) => picture !== "restored");
  const before = metrics[baseline]?.[name] ?? null;
  const after = metrics.restored?.[name] ?? null;
  if (before === null || after === null || name.startsWith("bias")) return null;
  const difference = after - before;
  return { difference, worse: name.startsWith("lpips") ? difference > 0 : difference < 0 };
}

function metricsTable(metrics) {
  const names = [...new Set(Object.values(metrics).flatMap(Object.keys))];
  const rows = names.map((name) => [
    name,
    ...Object.values(metrics).map((values) => metricText(name, values[name])),
  ]);
  return scrolling(table("Metrics", ["", ...Object.keys(metrics)], rows), "Metrics");
}

// The page: what stands above the images, their list, and what all comparisons show.

const pictures = Array.from(document.querySelectorAll("script.image"), (script) => new Picture(script));
const byId = (id) => document.getElementById(id);

// ---- above the images ----

function writeHead() {
  document.querySelector("h1").textContent = report.title;
  const flagged = pictures.filter((picture) => picture.warnings.length).length;
  const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
  byId("summary").textContent =
    count(pictures.length, "image") + (flagged ? `, ${flagged} with warnings (⚠)` : "") +
    ". The sliders below the pictures move with the arrow keys too; Home and End show one picture alone.";
  byId("about").append(facts(report.about));
  byId("about").hidden = !Object.keys(report.about).length;
  byId("tables").append(
    ...report.tables.map(({ title, columns, rows }) => scrolling(table(title, columns, rows), title)),
  );
  for (const { title, uri, caption } of report.figures) {
    const text = element("figcaption", { className: "faint", textContent: caption });
    const picture = element("img", { src: uri, alt: title });
    byId("figures").append(element("figure", {}, element("h3", { textContent: title }), picture, text));
  }
}

// ---- the list ----

/** What the list shows of each image: a title, a value to sort by, and its text. */
function listColumns() {
  const metrics = [...new Set(pictures.flatMap(({ metrics }) => Object.keys(metrics.restored ?? {})))];
  return [
    { title: "image", name: true, value: (picture) => picture.name },
    ...report.columns.map((title) => ({ title, value: (picture) => picture.facts[title] ?? "" })),
    ...metrics
      .filter((name) => !name.startsWith("bias"))
      .map((name) => ({ title: name, metric: name, value: (picture) => picture.metrics.restored?.[name] ?? null })),
    { title: "⚠", value: (picture) => picture.warnings.length || "" },
  ];
}

function nameCell(picture) {
  const small = element("img", { src: picture.thumbnail, alt: "", className: "thumbnail", loading: "lazy" });
  const link = element("a", { href: `#${picture.element.id}`, textContent: picture.name });
  return element("td", {}, element("div", { className: "name" }, small, link));
}

function metricCell(picture, name) {
  const cell = element("td", { textContent: metricText(name, picture.metrics.restored?.[name]) });
  const changed = change(picture.metrics, name);
  if (changed) {
    const text = ` ${metricText(name, changed.difference, true)}`;
    cell.append(element("span", { className: changed.worse ? "worse" : "faint", textContent: text }));
  }
  return cell;
}

function listRow(picture, columns) {
  const cells = columns.slice(1).map((column) => {
    if (column.metric) return metricCell(picture, column.metric);
    return element("td", { textContent: column.value(picture) });
  });
  cells.at(-1).title = picture.warnings.join("\n");
  cells.at(-1).className = "worse";
  return element("tr", {}, nameCell(picture), ...cells);
}

/** Numbers by their size, others by the alphabet; what is no number in a column of numbers comes last, up or down. */
function sorted(column, down) {
  const value = column.name ? () => NaN : (picture) => Number.parseFloat(column.value(picture));
  const text = (picture) => String(column.value(picture));
  const direction = down ? -1 : 1;
  return pictures.toSorted((one, other) => {
    const [a, b] = [value(one), value(other)];
    if (Number.isNaN(a) !== Number.isNaN(b)) return Number.isNaN(a) ? 1 : -1;
    if (!Number.isNaN(a)) return direction * (a - b);
    return direction * text(one).localeCompare(text(other), "en", { numeric: true });
  });
}

function sortBy(column, head) {
  const down = head.ariaSort === "ascending";
  for (const other of head.parentElement.children) other.ariaSort = null;
  head.ariaSort = down ? "descending" : "ascending";
  pictures.splice(0, pictures.length, ...sorted(column, down));
  byId("images").append(...pictures.map((picture) => picture.element));
  document.querySelector("#list tbody").append(...pictures.map((picture) => picture.row));
  link();
}

function writeList() {
  const columns = listColumns();
  const heads = columns.map((column) => {
    const button = element("button", { type: "button", textContent: column.title });
    const head = element("th", { scope: "col" }, button);
    button.addEventListener("click", () => sortBy(column, head));
    return head;
  });
  for (const picture of pictures) picture.row = listRow(picture, columns);
  const body = element("tbody", {}, ...pictures.map((picture) => picture.row));
  document.querySelector("#list table").append(element("thead", {}, element("tr", {}, ...heads)), body);
}

function find() {
  const words = byId("find").value.toLowerCase();
  for (const picture of pictures) {
    picture.row.hidden = picture.element.hidden = !picture.matches(words);
  }
  const found = pictures.filter((picture) => !picture.row.hidden).length;
  byId("found").textContent = words ? `${found} of ${pictures.length}` : "";
  link();
}

/** Links each image to the one before and after it, as they stand now. */
function link() {
  const shown = pictures.filter((picture) => !picture.element.hidden);
  shown.forEach((picture, number) => {
    const neighbours = { previous: shown[number - 1], next: shown[number + 1] };
    const links = Object.entries(neighbours)
      .filter(([, neighbour]) => neighbour)
      .map(([textContent, neighbour]) => element("a", { href: `#${neighbour.element.id}`, textContent }));
    picture.links.replaceChildren(...links.flatMap((made) => [made, " "]), `${number + 1} of ${shown.length}`);
  });
}

// ---- what all comparisons show ----

function writeView(names) {
  const form = byId("view");
  ["left", "right"].forEach((side, number) => {
    byId(side).append(...names.map((name) => element("option", { textContent: name })));
    byId(side).value = names[Math.min(number, names.length - 1)];
  });
  // One pixel of the screen or, where those are small, one of the page's own for one of the picture.
  const zoom = [1, 2, 4].findLast((step) => step <= Math.max(1, devicePixelRatio));
  form.elements.zoom.value = String(zoom);
  const change = () => {
    Object.assign(view, {
      left: byId("left").value,
      right: byId("right").value,
      zoom: Number(form.elements.zoom.value),
    });
    for (const picture of pictures) picture.show();
  };
  form.addEventListener("change", change);
  addEventListener("resize", change);
  form.addEventListener("submit", (event) => event.preventDefault());
  change();
}

function start() {
  pictures.forEach((picture, number) => Object.assign(picture.element, { id: `image-${number + 1}` }));
  writeHead();
  writeList();
  byId("images").append(...pictures.map((picture) => picture.element));
  byId("find").addEventListener("input", find);
  link();
  writeView([...new Set(pictures.flatMap((picture) => picture.names))]);
  const near = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (isIntersecting) pictures.find((picture) => picture.element === target).build();
      }
    },
    { rootMargin: "800px" },
  );
  for (const picture of pictures) near.observe(picture.element);
}

start();
