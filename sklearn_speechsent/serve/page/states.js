/* States of the page, and what each of them says. */

import { MicrophoneError } from "./microphone.js";

/** kind (info, busy, good, warning or error), title, text, and the name of a button. */
export const STATES = {
  loading: ["busy", "Loading the model’s description …"],
  ready: ["info", "Ready.", "Nothing is recorded before you start."],
  asking: ["busy", "Waiting for the microphone.", "Allow it where the browser asks."],
  connecting: ["busy", "Connecting …", "", "Cancel"],
  listening: ["good", "Listening.", "Speak now, close to the microphone."],
  quiet: ["warning", "No speech so far.", "Speak louder, or come closer to the microphone."],
  muted: ["warning", "The microphone gives only silence.", "Is it muted, or is another one chosen?"],
  finishing: ["busy", "Scoring what was said last …", "", "Cancel"],
  scoring: ["busy", "Scoring …", "", "Cancel"],
  done: ["good", "Done."],
  nobody: ["warning", "No speech was found.", "There is nothing to score: only voices that speak count."],
  short: ["warning", "Too little speech for a score.", "An utterance needs at least one second of speech."],

  insecure: ["error", "The microphone needs a secure address.", "Browsers give it only to https pages and to localhost. Recordings can still be opened."],
  permission: ["error", "The microphone is not allowed.", "Allow it for this page in the browser’s address bar, then start again. Recordings can still be opened."],
  missing: ["error", "No microphone was found.", "Connect one, then start again. Recordings can still be opened."],
  taken: ["error", "The microphone cannot be used.", "Another program may be using it. Close that, then start again."],
  failed: ["error", "The microphone did not start.", "Reload the page, or try another browser."],
  gone: ["warning", "The microphone went away.", "What was said before is scored."],

  empty: ["error", "The file is empty."],
  large: ["error", "The recording is too large.", "Cut it into parts, or save it as flac or mp3."],
  long: ["error", "The recording is too long.", "Cut it into parts."],
  unsupported: ["error", "This kind of file cannot be read.", "Save the recording as wav, flac, ogg or mp3."],
  unscorable: ["error", "The recording cannot be scored."],
  busy: ["warning", "The service is busy.", "Others are being served. Try again in a few seconds.", "Try again"],
  away: ["warning", "The service cannot answer now.", "Try again in a few seconds.", "Try again"],
  token: ["error", "A valid token is needed.", "Enter it above, then start again."],
  connection: ["error", "There is no connection to the service.", "Check the network. What was scored before is still shown.", "Try again"],
  slow: ["error", "The connection is too slow for live sound.", "Record with another program, and open the recording here."],
  refused: ["error", "The service could not do this.", "", "Try again"],
};

/** States in which something is going on, so that nothing else can begin. */
export const AT_WORK = ["loading", "asking", "connecting", "listening", "quiet", "muted", "finishing", "scoring"];
export const RECORDING = ["listening", "quiet", "muted"];

const OF_CODE = {
  connection: "connection",
  slow: "slow",
  busy: "busy",
  no_token: "token",
  too_large: "large",
  too_long: "long",
  too_many_streams: "busy",
  closing: "away",
  timeout: "away",
  worker_ended: "away",
};
/** Of other codes, and of what stands between this page and the service. */
const OF_STATUS = {
  401: "token",
  413: "large",
  415: "unsupported",
  422: "unscorable",
  429: "busy",
  502: "away",
  503: "busy",
  504: "away",
};

/** State of what a microphone or the service has thrown. */
export function stateOf(error) {
  if (error.name === "AbortError") return "ready";
  if (error instanceof MicrophoneError) return error.code;
  return OF_CODE[error.code] ?? OF_STATUS[error.status] ?? "refused";
}
