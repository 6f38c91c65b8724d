/* The service: requests, and the socket of a live stream. */

/** What the service, or the way to it, answered instead of a result. */
export class ServiceError extends Error {
  /** code: as the service names it, or "connection"; status: of HTTP, 0 for sockets. */
  constructor(code, message, status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

async function answer(path, options = {}) {
  let response;
  try {
    response = await fetch(new URL(path, document.baseURI), options);
    if (response.ok) return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServiceError("connection", "");
  }
  const body = await response.json().catch(() => null);
  const { code = "", message = "" } = body?.error ?? {};
  throw new ServiceError(code, message, response.status);
}

export const describeModel = () => answer("v1/model");

/** Send a file to "score" or "timeline". */
export function sendFile(to, file, token, signal) {
  const body = new FormData();
  body.append("file", file);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  return answer(`v1/${to}`, { method: "POST", body, headers, signal });
}

/** A live stream. Events go to onEvent; `ready` and `ended` are promises. */
export class Stream {
  constructor(hello, onEvent) {
    const url = new URL("v1/stream", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    this.socket = new WebSocket(url);
    this.ready = new Promise((resolve, reject) => (this.onReady = [resolve, reject]));
    this.ended = new Promise((resolve, reject) => (this.onEnd = [resolve, reject]));
    for (const promise of [this.ready, this.ended]) promise.catch(() => {}); // awaited later
    this.socket.onopen = () => this.socket.send(JSON.stringify(hello));
    this.socket.onclose = () => this.fail(new ServiceError("connection", ""));
    this.socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "ready") this.onReady[0](message);
      else if (message.type === "end") this.onEnd[0]();
      else if (message.type === "error") this.fail(new ServiceError(message.code, message.message));
      else onEvent(message);
    };
  }

  fail(error) {
    this.onReady[1](error);
    this.onEnd[1](error);
    this.close();
  }

  close() {
    this.socket.close();
  }

  /** Bytes that are waiting to be sent. */
  get waiting() {
    return this.socket.bufferedAmount;
  }

  send(block) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(block);
  }

  /** Say that no sound follows; resolves when the last event is there. */
  finish() {
    this.send(JSON.stringify({ type: "finish" }));
    return this.ended;
  }
}
