/* The result on the page: the answer in words and numbers, and the table of utterances. */

import { clock } from "./picture.js";

const element = (id) => document.getElementById(id);

function node(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function sideMark(scale, expected) {
  const mark = node("span", scale.mark(expected), `side-mark ink-${scale.tone(expected)}`);
  mark.ariaHidden = "true";
  return mark;
}

/** Show a score, or null, under a label. */
export function showAnswer(scale, label, score) {
  const expected = score?.expected ?? null;
  element("score-label").textContent = label;
  element("score-number").textContent = scale.number(expected);
  element("score-words").textContent = score ? scale.words(expected) : "no score yet";
  element("score-mark").replaceChildren(...(expected === null ? [] : [sideMark(scale, expected)]));
  const band = score && scale.band(score.probabilities);
  const range = band ? `80 % of the probability lies from ${scale.range(score.probabilities)}.` : "";
  const places = scale.isText ? ` The number is a place among the levels: 0 is ${scale.levels[0]}.` : "";
  element("score-range").textContent = range && range + places;
  showShares(scale, expected === null ? [] : score.probabilities);
}

function showShares(scale, probabilities) {
  const list = element("shares");
  list.parentElement.hidden = scale.levels.length === 0;
  if (list.children.length !== scale.levels.length) {
    // The highest level is on top, as in the picture.
    list.replaceChildren(
      ...scale.levels.map((level, i) => {
        const item = node("li");
        const bar = node("span", undefined, "track");
        bar.append(node("span", undefined, `fill tone-${scale.tone(scale.places[i])}`));
        item.append(node("span", scale.name(level), "level"), bar, node("span", "", "percent"));
        return item;
      }).reverse(),
    );
  }
  [...list.children].reverse().forEach((item, i) => {
    const share = probabilities[i] ?? null;
    item.querySelector(".fill").style.width = `${100 * (share ?? 0)}%`;
    item.querySelector(".percent").textContent = share === null ? "–" : `${Math.round(100 * share)} %`;
  });
}

/** One utterance in words. */
export function inWords(scale, row) {
  const span = `From ${clock(row.start, 1)} to ${clock(row.end, 1)}`;
  if (row.expected === null) return `${span}: too short for a score.`;
  return `${span}: ${scale.number(row.expected)}, ${scale.words(row.expected)}.`;
}

/** What the picture shows, in words. */
export function summary(scale, finals, seconds) {
  const scored = finals.filter((row) => row.expected !== null);
  const text = `Time line of ${clock(seconds)} with ${count(finals.length, "utterance")}`;
  if (!scored.length) return `${text}, none with a score.`;
  const [low, high] = [Math.min, Math.max].map((f) => f(...scored.map((row) => row.expected)));
  return `${text}. Expected sentiment from ${scale.number(low)} to ${scale.number(high)}. The table below has each of them.`;
}

export const count = (n, noun) => `${n || "no"} ${noun}${n === 1 ? "" : "s"}`;

/** Fill the table; onPlay(row) is called by its buttons, which are left out without a player. */
export function showTable(scale, finals, onPlay) {
  element("utterances").hidden = !finals.length;
  element("utterances").classList.toggle("no-levels", !scale.levels.length);
  element("rows").replaceChildren(
    ...finals.map((row) => {
      const line = node("tr");
      const span = `${clock(row.start, 1)} – ${clock(row.end, 1)}`;
      const time = node("th");
      time.scope = "row";
      if (onPlay) {
        const button = node("button", undefined, "play");
        button.type = "button";
        button.append(node("span", "Play ", "unseen"), span);
        button.addEventListener("click", () => onPlay(row));
        time.append(button);
      } else time.textContent = span;
      const words = node("td", "", "words");
      if (row.expected === null) words.textContent = "too short for a score";
      else words.append(sideMark(scale, row.expected), scale.words(row.expected));
      line.append(time, words);
      const level = row.expected === null ? "–" : scale.name(row.level);
      const cells = [scale.number(row.expected), scale.range(row.probabilities), level, `${row.speech.toFixed(1)} s`];
      for (const text of cells) line.append(node("td", text, "number"));
      line.dataset.start = row.start;
      line.dataset.end = row.end;
      return line;
    }),
  );
}

/** Mark the utterance that is being played. */
export function markPlaying(second) {
  for (const line of element("rows").children) {
    const inside = second !== null && second >= line.dataset.start && second < line.dataset.end;
    line.classList.toggle("playing", inside);
  }
}
