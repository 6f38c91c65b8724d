/* The scale of a model: places of levels, words for them, and the band of probability. */

const SHARE = 0.8;
export const N_TONES = 7;

/** Number with a sign and a true minus. */
export function signed(value, digits = 1) {
  const text = Math.abs(value).toFixed(digits);
  if (Number(text) === 0) return text;
  return (value < 0 ? "−" : "+") + text;
}

export class Scale {
  /** levels: in ordinal order; empty for a model of intensities. */
  constructor(levels) {
    this.levels = levels ?? [];
    this.isText = this.levels.some((level) => typeof level === "string");
    this.places = this.isText ? this.levels.map((_, place) => place) : this.levels.map(Number);
    this.setEnds(this.places.length ? this.places : [-1, 1]);
  }

  setEnds(values) {
    this.low = Math.min(...values);
    this.high = Math.max(...values);
    this.hasSign = !this.isText && this.low < 0 && this.high > 0;
    this.middle = this.hasSign ? 0 : (this.low + this.high) / 2;
    this.reach = Math.max(this.high - this.middle, this.middle - this.low) || 1;
  }

  /** Make room for an intensity, of which no ends are known. */
  include(value) {
    if (this.places.length || value === null || Math.abs(value) <= this.high) return;
    const end = Math.ceil(Math.abs(value));
    this.setEnds([-end, end]);
  }

  /** Ticks: place and label. */
  get ticks() {
    const places = this.places.length ? this.places : [this.low, 0, this.high];
    return places.map((place, i) => [place, this.name(this.isText ? this.levels[i] : place)]);
  }

  /** A level, as it is called. */
  name(level) {
    if (level === null || level === undefined) return "–";
    if (typeof level === "string") return level;
    return this.hasSign ? signed(level, Number.isInteger(level) ? 0 : 1) : String(level);
  }

  /** An expected level. */
  number(expected) {
    if (expected === null) return "–";
    return this.hasSign ? signed(expected) : expected.toFixed(1);
  }

  /** From -1 to 1, where an expected level lies. */
  share(expected) {
    return Math.max(-1, Math.min(1, (expected - this.middle) / this.reach));
  }

  words(expected) {
    if (expected === null) return "no score";
    if (this.isText) return this.levels[Math.round(expected)];
    const share = this.share(expected);
    const [down, up, middle] = this.hasSign
      ? ["negative", "positive", "neutral"]
      : ["low", "high", "in the middle"];
    if (Math.abs(share) < 0.125) return middle;
    return `${Math.abs(share) < 0.5 ? "slightly" : "clearly"} ${share < 0 ? down : up}`;
  }

  /** Which of the seven colours. */
  tone(expected) {
    return Math.round(((this.share(expected) + 1) / 2) * (N_TONES - 1));
  }

  /** Sign of the side, for those who do not see the colour. */
  mark(expected) {
    const share = this.share(expected);
    if (Math.abs(share) < 0.125) return "●";
    return share < 0 ? "▼" : "▲";
  }

  /**
   * Range of levels that holds 80 % of the probability, as much of it above as below; null without
   * probabilities. A level's probability is spread evenly over the half-way to its neighbours.
   */
  band(probabilities) {
    const { places } = this;
    const n = places.length;
    if (n < 2 || probabilities?.length !== n || probabilities.includes(null)) return null;
    const middles = places.slice(1).map((place, i) => (place + places[i]) / 2);
    const last = 2 * places[n - 1] - middles[n - 2];
    const edges = [2 * places[0] - middles[0], ...middles, last];
    const total = probabilities.reduce((sum, each) => sum + each, 0);
    return [(1 - SHARE) / 2, (1 + SHARE) / 2].map((share) => {
      let wanted = share * total;
      let level = 0;
      while (level < n - 1 && wanted > probabilities[level]) wanted -= probabilities[level++];
      const within = probabilities[level] ? Math.min(wanted / probabilities[level], 1) : 0;
      const found = edges[level] + within * (edges[level + 1] - edges[level]);
      return Math.max(places[0], Math.min(places[n - 1], found));
    });
  }

  range(probabilities) {
    const band = this.band(probabilities);
    if (!band) return "–";
    if (!this.isText) return `${this.number(band[0])} to ${this.number(band[1])}`;
    const [low, high] = band.map((place) => this.levels[Math.round(place)]);
    return low === high ? low : `${low} to ${high}`;
  }
}

/** Mean of final scores, weighted by speech; null where none has a score. */
export function meanScore(finals) {
  const scored = finals.filter((row) => row.expected !== null);
  const speech = scored.reduce((sum, row) => sum + row.speech, 0);
  if (!speech) return null;
  const mean = (of) => scored.reduce((sum, row) => sum + of(row) * row.speech, 0) / speech;
  return {
    expected: mean((row) => row.expected),
    probabilities: scored[0].probabilities.map((_, i) => mean((row) => row.probabilities[i])),
  };
}
