/* The microphone, as blocks of samples at its own rate. */

/** Why there is no sound: "insecure", "permission", "missing", "taken" or "failed". */
export class MicrophoneError extends Error {
  constructor(code) {
    super(code);
    this.code = code;
  }
}

const CODES = {
  NotAllowedError: "permission",
  SecurityError: "permission",
  NotFoundError: "missing",
  OverconstrainedError: "missing",
  NotReadableError: "taken",
  AbortError: "taken",
};

export class Microphone {
  /** Ask for the microphone; nothing is heard before start(). */
  static async open() {
    // Browsers hide it from pages that came over plain HTTP from another machine.
    if (!navigator.mediaDevices?.getUserMedia || !window.AudioWorkletNode) {
      throw new MicrophoneError("insecure");
    }
    let stream;
    try {
      // Each of them changes the voice that the model hears.
      const audio = { autoGainControl: false, echoCancellation: false, noiseSuppression: false };
      stream = await navigator.mediaDevices.getUserMedia({ audio });
      const context = new AudioContext();
      await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
      await context.resume();
      return new Microphone(stream, context);
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      throw new MicrophoneError(CODES[error.name] ?? "failed");
    }
  }

  constructor(stream, context) {
    this.stream = stream;
    this.context = context;
    this.rate = context.sampleRate;
    this.node = new AudioWorkletNode(context, "recorder");
    this.source = context.createMediaStreamSource(stream);
  }

  /** Call onBlock with every Float32Array, and onGone if the device goes away. */
  start(onBlock, onGone) {
    this.onBlock = onBlock;
    this.node.port.onmessage = ({ data }) => data && onBlock(data);
    this.stream.getTracks()[0].onended = onGone;
    this.source.connect(this.node);
    this.node.connect(this.context.destination); // silent, but nodes that lead nowhere may sleep
  }

  /** Stop; resolves after the last block. */
  async stop() {
    this.stream.getTracks().forEach((track) => track.stop());
    if (this.onBlock && this.context.state === "running") {
      await new Promise((resolve) => {
        this.node.port.onmessage = ({ data }) => (data ? this.onBlock(data) : resolve());
        this.node.port.postMessage("stop");
      });
    }
    await this.context.close();
  }
}
