/* The picture of a time line: sentiment with its band over the waveform, as SVG. */

import { N_TONES } from "./scale.js";

const SVG = "http://www.w3.org/2000/svg";
const COLUMNS_PER_SECOND = 100;
/** Seconds that are in view while somebody records. */
const LIVE = 30;
/** Provisional scores of longer views are left out. */
const LONG = 300;

/** Lowest and highest samples over time. */
export class Waveform {
  constructor(rate) {
    this.columns = []; // low, high, low, high …
    this.size = rate / COLUMNS_PER_SECOND;
    this.n = 0;
    this.low = this.high = 0;
  }

  push(samples) {
    for (const sample of samples) {
      if (sample < this.low) this.low = sample;
      if (sample > this.high) this.high = sample;
      if (++this.n >= (this.columns.length / 2 + 1) * this.size) {
        this.columns.push(this.low, this.high);
        this.low = this.high = 0;
      }
    }
  }

  get seconds() {
    return this.columns.length / 2 / COLUMNS_PER_SECOND;
  }
}

export const clock = (seconds, digits = 0) => {
  const unit = 10 ** digits;
  const ticks = Math.round(seconds * unit);
  const minutes = Math.floor(ticks / unit / 60);
  const rest = (ticks / unit - minutes * 60).toFixed(digits).padStart(digits ? 3 + digits : 2, "0");
  const hours = Math.floor(minutes / 60);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
};

function shape(parent, name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  parent?.append(element);
  return element;
}

const rounded = (value) => Math.round(value * 10) / 10;

export class Picture {
  /** onSeek gets the second that is clicked. */
  constructor(svg, onSeek) {
    this.svg = svg;
    svg.addEventListener("click", (event) => {
      const x = event.clientX - svg.getBoundingClientRect().left;
      if (this.view && x >= this.left) onSeek(this.secondAt(x));
    });
    new ResizeObserver(() => this.request()).observe(svg.parentElement);
  }

  /** Draw soon: once for all that changes until then. */
  request() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      if (this.view) this.draw();
    });
  }

  /** view: scale, rows, starts (of utterances without end), waveform, duration, live. */
  show(view) {
    this.view = view;
    this.request();
  }

  secondAt(x) {
    const share = (x - this.left) / (this.right - this.left);
    return this.from + Math.max(0, Math.min(1, share)) * (this.to - this.from);
  }

  setCursor(second) {
    this.second = second;
    if (!this.cursor) return;
    const shown = second !== null && second >= this.from && second <= this.to;
    this.cursor.setAttribute("visibility", shown ? "visible" : "hidden");
    if (shown) this.cursor.setAttribute("transform", `translate(${rounded(this.x(second))} 0)`);
  }

  draw() {
    const { scale, duration, live } = this.view;
    const width = Math.max(this.svg.parentElement.clientWidth - 2 * this.padding(), 200);
    const narrow = width < 520;
    const ticks = scale.ticks;
    const longest = Math.max(...ticks.map(([, label]) => String(label).length));
    this.left = Math.min(20 + 8 * longest, 120);
    this.right = width - 8;
    this.top = 26;
    this.bottom = this.top + (narrow ? 170 : 220);
    this.waveTop = this.bottom + 34;
    this.waveBottom = this.waveTop + 56;
    const height = this.waveBottom + 26;
    this.to = live ? Math.max(duration, narrow ? LIVE / 2 : LIVE) : Math.max(duration, 0.1);
    this.from = live ? this.to - (narrow ? LIVE / 2 : LIVE) : 0;
    this.x = (second) =>
      this.left + ((second - this.from) / (this.to - this.from)) * (this.right - this.left);
    const margin = 0.12 * (scale.high - scale.low);
    const [low, high] = [scale.low - margin, scale.high + margin];
    this.y = (value) =>
      this.bottom - ((value - low) / (high - low)) * (this.bottom - this.top);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("width", width);
    this.svg.setAttribute("height", height);
    const root = document.createDocumentFragment();
    this.drawDefinitions(root);
    this.drawGrid(root, ticks, narrow);
    const inside = shape(root, "g", { "clip-path": "url(#inside)" });
    this.drawWaveform(inside);
    this.drawScores(inside);
    this.cursor = shape(root, "g", { class: "cursor", visibility: "hidden" });
    shape(this.cursor, "line", { x1: 0, x2: 0, y1: this.top - 6, y2: this.waveBottom });
    this.svg.replaceChildren(root);
    this.setCursor(this.second ?? null);
  }

  padding() {
    return parseFloat(getComputedStyle(this.svg.parentElement).paddingLeft);
  }

  drawDefinitions(root) {
    const definitions = shape(root, "defs", {});
    const clip = shape(definitions, "clipPath", { id: "inside" });
    const box = { x: this.left, y: 0, width: this.right - this.left, height: this.waveBottom };
    shape(clip, "rect", box);
    const size = { width: 6, height: 6, patternUnits: "userSpaceOnUse" };
    const hatch = shape(definitions, "pattern", { id: "hatch", ...size });
    shape(hatch, "path", { d: "M-1 7 7 -1M-1 1 1 -1M5 7 7 5", class: "hatch" });
  }

  drawGrid(root, ticks, narrow) {
    const { scale } = this.view;
    const [x1, x2] = [this.left, this.right];
    for (const [place, label] of ticks) {
      const y = rounded(this.y(place));
      const middle = scale.hasSign && place === scale.middle;
      shape(root, "line", { class: middle ? "middle" : "grid", x1, x2, y1: y, y2: y });
      shape(root, "text", { class: "tick", x: x1 - 10, y: y + 4, "text-anchor": "end" }, label);
    }
    const [up, down] = scale.hasSign ? ["more positive", "more negative"] : ["higher", "lower"];
    shape(root, "text", { class: "side", x: x1, y: this.top - 10 }, `▲ ${up}`);
    shape(root, "text", { class: "side", x: x1, y: this.bottom + 16 }, `▼ ${down}`);
    const y = this.waveBottom + 18;
    const step = this.step((x2 - x1) / (narrow ? 70 : 90));
    for (let t = Math.ceil(this.from / step) * step; t <= this.to; t += step) {
      const x = rounded(this.x(t));
      const anchor = x < x1 + 12 ? "start" : x > x2 - 12 ? "end" : "middle";
      shape(root, "text", { class: "tick", x, y, "text-anchor": anchor }, clock(t, step < 1 ? 1 : 0));
    }
  }

  step(most) {
    const steps = [0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
    return steps.find((each) => (this.to - this.from) / each <= most) ?? 7200;
  }

  drawWaveform(root) {
    const { waveform, rows, open } = this.view;
    const [top, bottom] = [this.waveTop, this.waveBottom];
    const spans = rows.filter((row) => row.final);
    if (open) spans.push({ start: open.start, end: this.view.duration, expected: 0 });
    for (const { start, end, expected } of spans) {
      const x = rounded(this.x(start));
      const box = { x, y: top, width: rounded(Math.max(this.x(end) - x, 1)), height: bottom - top, rx: 4 };
      shape(root, "rect", { class: expected === null ? "short" : "speech", ...box });
    }
    const middle = (top + bottom) / 2;
    shape(root, "line", { class: "grid", x1: this.left, x2: this.right, y1: middle, y2: middle });
    if (waveform) shape(root, "path", { class: "wave", d: this.outline(waveform, middle) });
  }

  /** Outline of the waveform, one column a pixel, as loud as there is room. */
  outline(waveform, middle) {
    const { columns } = waveform;
    const first = Math.max(0, Math.floor(this.from * COLUMNS_PER_SECOND));
    const last = Math.min(columns.length / 2, Math.ceil(this.to * COLUMNS_PER_SECOND));
    const pixels = Math.max(1, Math.round(this.x(last / COLUMNS_PER_SECOND) - this.x(first / COLUMNS_PER_SECOND)));
    const n = Math.min(pixels, last - first);
    const [highs, lows] = [[], []];
    let peak = 0.01; // silence stays flat
    for (let i = 0; i < n; i++) {
      let low = 0;
      let high = 0;
      const from = first + Math.floor((i * (last - first)) / n);
      const to = first + Math.floor(((i + 1) * (last - first)) / n);
      for (let column = from; column < to; column++) {
        low = Math.min(low, columns[2 * column]);
        high = Math.max(high, columns[2 * column + 1]);
      }
      const x = rounded(this.x((from + to) / 2 / COLUMNS_PER_SECOND));
      highs.push([x, high]);
      lows.push([x, low]);
      peak = Math.max(peak, high, -low);
    }
    const gain = (this.waveBottom - this.waveTop) / 2 - 2;
    const at = ([x, value]) => `${x} ${rounded(middle - (value / peak) * gain)}`;
    return n ? `M${highs.map(at).join("L")}L${lows.reverse().map(at).join("L")}Z` : "";
  }

  drawScores(root) {
    const { rows, open } = this.view;
    const inView = rows.filter((row) => row.end >= this.from);
    const finals = inView.filter((row) => row.final && row.expected !== null);
    for (const row of finals) this.drawBand(root, [row], row.start, row.end, row.expected);
    if (this.to - this.from <= LONG) this.drawProvisional(root, inView, open);
    for (const row of finals) this.drawFinal(root, row);
  }

  drawBand(root, [row], start, end, expected) {
    const band = this.view.scale.band(row.probabilities);
    if (!band) return;
    const [bottom, top] = band.map((value) => rounded(this.y(value)));
    const x = rounded(this.x(start));
    const box = { x, y: top, width: rounded(Math.max(this.x(end) - x, 2)), height: Math.max(bottom - top, 2), rx: 4 };
    shape(root, "rect", { class: `band ${this.tone(expected)}`, ...box });
  }

  drawProvisional(root, rows, open) {
    const scored = rows.filter((row) => !row.final && row.expected !== null);
    const ended = rows.filter((row) => row.final);
    const utterance = (row) => ended.findIndex((each) => row.start < each.end && row.end > each.start);
    const lines = Map.groupBy ? Map.groupBy(scored, utterance) : grouped(scored, utterance);
    for (const [which, line] of lines) {
      const points = line.map((row) => [rounded(this.x(row.end)), rounded(this.y(row.expected))]);
      if (which < 0 && open) this.drawLiveBand(root, line);
      if (points.length > 1) shape(root, "path", { class: "line", d: `M${points.map((p) => p.join(" ")).join("L")}` });
      for (const [x, y] of points) shape(root, "circle", { class: "dot", cx: x, cy: y, r: 3 });
    }
  }

  /** The band of an utterance that goes on, from window to window. */
  drawLiveBand(root, line) {
    const bands = line.map((row) => [rounded(this.x(row.end)), this.view.scale.band(row.probabilities)]);
    if (bands.some(([, band]) => !band)) return;
    const edge = (which) => bands.map(([x, band]) => `${x} ${rounded(this.y(band[which]))}`);
    const d = `M${edge(1).join("L")}L${edge(0).reverse().join("L")}Z`;
    shape(root, "path", { class: "band live", d });
    const [x, [low, high]] = bands.at(-1);
    shape(root, "line", { class: "whisker", x1: x, x2: x, y1: this.y(low), y2: this.y(high) });
  }

  drawFinal(root, row) {
    const [x, end, y] = [this.x(row.start), this.x(row.end), this.y(row.expected)].map(rounded);
    const width = Math.max(end - x, 4);
    shape(root, "rect", { class: `bar ${this.tone(row.expected)}`, x, y: y - 3.5, width, height: 7, rx: 3.5 });
    if (width < 34) return;
    // On the side of the bar that provisional scores leave free.
    const before = this.view.rows.filter((each) => !each.final && each.start < row.end && each.end > row.start);
    const above = before.filter((each) => each.expected > row.expected).length;
    const isBelow = 2 * above > before.length && y + 20 < this.bottom;
    const label = { class: "value", x: x + width / 2, y: isBelow ? y + 18 : y - 10, "text-anchor": "middle" };
    shape(root, "text", label, this.view.scale.number(row.expected));
  }

  tone(expected) {
    return `tone-${Math.max(0, Math.min(N_TONES - 1, this.view.scale.tone(expected)))}`;
  }
}

function grouped(rows, key) {
  const groups = new Map();
  for (const row of rows) groups.set(key(row), [...(groups.get(key(row)) ?? []), row]);
  return groups;
}
