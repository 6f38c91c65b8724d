/* Samples of the microphone, on the audio thread: mono blocks for the page. */

const BLOCK = 2048;

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Float32Array(BLOCK);
    this.filled = 0;
    this.over = false;
    // Any message asks for the end: what is left is posted, then null.
    this.port.onmessage = () => {
      this.post();
      this.port.postMessage(null);
      this.over = true;
    };
  }

  process([channels]) {
    if (this.over) return false;
    const length = channels.length ? channels[0].length : 0;
    for (let i = 0; i < length; i++) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.block[this.filled++] = sum / channels.length;
      if (this.filled === BLOCK) this.post();
    }
    return true;
  }

  post() {
    if (!this.filled) return;
    const block = this.block.slice(0, this.filled);
    this.filled = 0;
    this.port.postMessage(block, [block.buffer]);
  }
}

registerProcessor("recorder", Recorder);
