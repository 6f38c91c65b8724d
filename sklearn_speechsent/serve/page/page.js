/* The page: recording and opening, states, playback, downloads. */

import { showCard } from "./card.js";
import { asCsv, asJson, asWav, save } from "./download.js";
import { Microphone } from "./microphone.js";
import { Picture, Waveform, clock } from "./picture.js";
import { count, inWords, markPlaying, showAnswer, showTable, summary } from "./result.js";
import { Scale, meanScore } from "./scale.js";
import { ServiceError, Stream, describeModel, sendFile } from "./service.js";
import { AT_WORK, RECORDING, STATES, stateOf } from "./states.js";

/** Seconds between provisional scores. */
const STEP = 1;
/** Seconds of silence and of no speech after which the page says so. */
const MUTED = 3;
const QUIET = 8;
/** Longest recording that is held for playback, and longest file whose waveform is drawn (s). */
const PLAYABLE = 1800;
/** Seconds of sound that may wait for a slow connection. */
const WAITING = 15;
/** Seconds between pictures while sound comes in. */
const FRAME = 0.1;

const element = (id) => document.getElementById(id);
const player = element("player");
const picture = new Picture(element("picture"), (second) => playFrom(second));
const page = { state: "loading", model: null, token: "", last: null };
/** What is shown: source, scale, rows, open utterance, waveform, duration, score. */
let shown = null;

/* States */

function setState(name, text, title) {
  const [kind, usual, more = "", action = ""] = STATES[name];
  page.state = name;
  document.body.dataset.state = name;
  element("status").dataset.kind = kind;
  element("status-title").textContent = title ?? usual;
  element("status-text").textContent = text || more;
  element("status-action").textContent = action;
  element("status-action").hidden = !action;
  const recording = RECORDING.includes(name);
  const atWork = AT_WORK.includes(name);
  // Not disabled: that would take the focus from those who use the keyboard.
  element("record").ariaDisabled = String(!page.model || (atWork && !recording));
  element("record-label").textContent = recording ? "Stop" : "Start recording";
  element("file").ariaDisabled = String(!page.model || atWork);
}

const isOn = (id) => element(id).ariaDisabled !== "true";

function fail(error) {
  const name = stateOf(error);
  if (name === "refused" && !(error instanceof ServiceError)) console.error(error);
  if (name === "token") askForToken();
  setState(name, name === "ready" ? "" : error instanceof ServiceError ? error.message : "");
}

element("status-action").addEventListener("click", () => {
  if (AT_WORK.includes(page.state)) page.abort();
  else if (page.model) page.last?.();
  else start();
});

/* The model */

async function start() {
  setState("loading");
  try {
    page.model = await describeModel();
  } catch (error) {
    return fail(error);
  }
  const { model } = page;
  const scale = new Scale(model.levels);
  element("model-name").textContent = model.name;
  element("version").textContent = model.version;
  element("about-host").textContent = location.host;
  if (scale.levels.length) {
    const ends = [scale.levels[0], scale.levels.at(-1)].map((level) => scale.name(level));
    const sides = scale.hasSign ? [" (negative)", " (positive)"] : ["", ""];
    element("about-scale").textContent =
      `It gives the tone of a voice a place on a scale from ${ends[0]}${sides[0]} to ${ends[1]}${sides[1]}.`;
  }
  const { max_bytes, max_seconds } = model.limits;
  element("file-limits").textContent =
    `, up to ${Math.floor(max_bytes / 1e6)} MB and ${Math.floor(max_seconds / 60)} minutes`;
  element("card").hidden = !model.card;
  showCard(element("card-text"), model.card ?? "");
  if (model.token_required) askForToken();
  setState("ready");
}

function askForToken() {
  element("token-form").hidden = false;
  element("token").focus();
}

element("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  page.token = element("token").value.trim();
  element("token-form").hidden = true;
  element("token").value = "";
  setState("ready", "The token will be sent with your sound.");
  element("record").focus();
});

/* What is shown */

function begin(source, title) {
  shown = { source, rows: [], open: null, waveform: null, duration: 0, score: null, live: false };
  shown.scale = new Scale(page.model.levels);
  player.pause();
  player.hidden = true;
  if (player.src) URL.revokeObjectURL(player.src);
  player.removeAttribute("src");
  picture.setCursor(null);
  element("result-title").textContent = title;
  element("announcement").textContent = "";
}

const finals = () => shown.rows.filter((row) => row.final);

/** Draw everything; while sound comes in, the picture alone is drawn more often. */
function show() {
  const rows = finals();
  const { scale, duration } = shown;
  element("result").hidden = false;
  element("legend-band").hidden = scale.levels.length < 2;
  element("result-facts").textContent = `${clock(duration, 1)} · ${count(rows.length, "utterance")}`;
  element("picture-summary").textContent = summary(scale, rows, duration);
  element("downloads").hidden = shown.live;
  showTable(scale, rows, player.hidden ? null : playRow);
  picture.show(shown);
}

function addRows(rows) {
  for (const row of rows) {
    shown.rows.push(row);
    shown.scale.include(row.expected);
  }
}

function offerPlayback(blob) {
  player.src = URL.createObjectURL(blob);
  player.hidden = false;
}

/** What to say at the end. */
function conclude(state = "done") {
  const rows = finals();
  const scored = rows.filter((row) => row.expected !== null);
  show();
  if (state === "done" && !scored.length) state = rows.length ? "short" : "nobody";
  const words = scored.length
    ? `${count(rows.length, "utterance")}, ${shown.scale.words(shown.score?.expected ?? null)} as a whole.`
    : "";
  setState(state, state === "done" ? words.replace(/^./, (c) => c.toUpperCase()) : "");
}

/* The microphone */

element("record").addEventListener("click", () => {
  if (RECORDING.includes(page.state)) page.stop();
  else if (isOn("record")) record();
});

async function record() {
  page.last = record;
  if (page.model.token_required && !page.token) return fail(new ServiceError("no_token", ""));
  let microphone;
  let stream;
  try {
    setState("asking");
    microphone = await Microphone.open();
    setState("connecting");
    const hello = { sample_rate: microphone.rate, format: "f32le", step: STEP };
    if (page.token) hello.token = page.token;
    stream = new Stream(hello, onEvent);
    page.abort = () => stream.fail(new DOMException("", "AbortError"));
    await stream.ready;
    begin("microphone", "Live");
    shown.live = true;
    showAnswer(shown.scale, "Live", null);
    show();
    await listen(microphone, stream);
  } catch (error) {
    await microphone?.stop();
    stream?.close();
    fail(error);
  }
}

/** Follow the microphone until somebody stops it, it goes away, or the stream breaks. */
async function listen(microphone, stream) {
  const blocks = [];
  let drawn = 0;
  shown.waveform = new Waveform(microphone.rate);
  let samples = 0;
  let peak = 0;
  const stopped = new Promise((resolve) => (page.stop = resolve));
  const onBlock = (block) => {
    let loudest = 0;
    for (const sample of block) loudest = Math.max(loudest, Math.abs(sample));
    peak = Math.max(peak, loudest);
    samples += block.length;
    shown.duration = samples / microphone.rate;
    shown.waveform.push(block);
    if (shown.duration <= PLAYABLE) blocks.push(Int16Array.from(block, to16Bits));
    stream.send(block);
    if (stream.waiting > WAITING * 4 * microphone.rate) stream.fail(new ServiceError("slow", ""));
    if (shown.duration - drawn < FRAME || page.state === "finishing") return;
    drawn = shown.duration;
    showLoudness(loudest);
    picture.show(shown);
    element("result-facts").textContent = `${clock(drawn, 1)} · ${count(finals().length, "utterance")}`;
    watch(peak);
  };
  setState("listening");
  microphone.start(onBlock, () => page.stop("gone"));
  try {
    const why = await Promise.race([stopped, stream.ended]);
    setState("finishing");
    showLoudness(0);
    await microphone.stop();
    await stream.finish();
    finishShown(blocks, microphone.rate);
    conclude(why === "gone" ? "gone" : "done");
  } catch (error) {
    showLoudness(0);
    await microphone.stop();
    finishShown(blocks, microphone.rate);
    fail(error);
  }
}

const to16Bits = (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));

/** The stream is over: what was recorded can be played, and the mean stands for the whole. */
function finishShown(blocks, rate) {
  shown.live = false;
  shown.open = null;
  if (blocks.length && shown.duration <= PLAYABLE) offerPlayback(asWav(blocks, rate));
  shown.score = meanScore(finals());
  showAnswer(shown.scale, "Mean of the utterances", shown.score);
  element("result-title").textContent = "Your recording";
  show();
}

function watch(peak) {
  const heard = shown.rows.length || shown.open;
  let name = "listening";
  if (!heard && peak < 1e-4 && shown.duration > MUTED) name = "muted";
  else if (!heard && shown.duration > QUIET) name = "quiet";
  if (name !== page.state && RECORDING.includes(page.state)) setState(name);
}

function showLoudness(peak) {
  const share = peak > 0 ? Math.max(0, 1 + (20 * Math.log10(peak)) / 60) : 0;
  element("loudness").firstElementChild.style.width = `${100 * Math.min(1, share)}%`;
}

function onEvent(event) {
  if (event.type === "SpeechStart") shown.open = { start: event.time };
  else if (event.type === "SpeechEnd") shown.open = null;
  else if (event.type === "Score") {
    const { start, end, level, expected, probabilities, speech, final } = event;
    addRows([{ channel: null, start, end, level, expected, probabilities, speech, final }]);
    if (final) element("announcement").textContent = inWords(shown.scale, event);
    if (expected !== null) {
      showAnswer(shown.scale, final ? "Last utterance, final" : "This utterance, so far", event);
    }
    if (final) show();
  }
}

/* Files */

element("file").addEventListener("click", (event) => {
  if (!isOn("file")) event.preventDefault();
});

element("file").addEventListener("change", () => {
  const [file] = element("file").files;
  element("file").value = ""; // the same file can be chosen again
  if (file) scoreFile(file);
});

let inside = 0; // dragenter and dragleave come for every element on the way
for (const name of ["dragenter", "dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    if (name === "dragenter") inside++;
    if (name === "dragleave") inside--;
    if (name === "drop") inside = 0;
    element("drop").classList.toggle("over", inside > 0);
    const [file] = (name === "drop" && event.dataTransfer?.files) || [];
    if (file && isOn("file")) scoreFile(file);
  });
}

async function scoreFile(file) {
  page.last = () => scoreFile(file);
  const { limits, token_required } = page.model;
  if (!file.size) return setState("empty", file.name);
  if (file.size > limits.max_bytes) {
    const [size, most] = [file.size, limits.max_bytes].map((n) => `${(n / 1e6).toFixed(1)} MB`);
    return setState("large", `${file.name} has ${size}, and ${most} are allowed. ${STATES.large[2]}`);
  }
  if (token_required && !page.token) return fail(new ServiceError("no_token", ""));
  const cancelling = new AbortController();
  page.abort = () => cancelling.abort();
  setState("scoring", "", `Scoring ${file.name} …`);
  try {
    const { signal } = cancelling;
    const score = await sendFile("score", file, page.token, signal);
    const timeline = await sendFile("timeline", file, page.token, signal);
    begin(file.name, file.name);
    shown.duration = timeline.duration;
    addRows(timeline.rows);
    shown.score = score.note ? null : score;
    shown.scale.include(score.expected);
    showAnswer(shown.scale, "The recording as a whole", score);
    offerPlayback(file);
    conclude();
    if (shown.duration <= PLAYABLE) await addWaveform(file, shown);
  } catch (error) {
    fail(error);
  }
}

/** Draw the waveform of a file, if the browser reads its format. */
async function addWaveform(file, target) {
  try {
    const context = new OfflineAudioContext(1, 1, 16000);
    const decoded = await context.decodeAudioData(await file.arrayBuffer());
    target.waveform = new Waveform(decoded.sampleRate);
    target.waveform.push(decoded.getChannelData(0));
    if (target === shown) picture.request();
  } catch {
    // The service reads formats that this browser does not.
  }
}

/* Playback */

let stopAt = null;

function playFrom(second, end = null) {
  if (player.hidden) return;
  stopAt = end;
  player.currentTime = second;
  player.play().catch(() => {}); // a format that the browser does not play says so itself
}

const playRow = (row) => playFrom(row.start, row.end);

function followPlayer() {
  const second = player.hidden || player.currentTime === 0 ? null : player.currentTime;
  if (stopAt !== null && second >= stopAt) {
    player.pause();
    stopAt = null;
  }
  picture.setCursor(second);
  markPlaying(player.paused ? null : second);
  if (!player.paused) requestAnimationFrame(followPlayer);
}

for (const name of ["play", "pause", "seeked", "timeupdate"]) player.addEventListener(name, followPlayer);

/* Downloads */

function result() {
  const { source, duration, score, rows } = shown;
  const { name, version } = page.model;
  const whole = score && { expected: score.expected, probabilities: score.probabilities };
  return { model: name, version, source, duration, levels: shown.scale.levels, score: whole, rows };
}

const stem = () => shown.source.replace(/\.[^.]*$/, "") || "recording";
element("csv").addEventListener("click", () => save(`${stem()}.csv`, asCsv(result()), "text/csv"));
element("json").addEventListener("click", () =>
  save(`${stem()}.json`, asJson(result()), "application/json"),
);

setState("loading");
start();
