// Outputs of exported models in onnxruntime-web (wasm), against those that a folder has with them.
// node compare.mjs FOLDER: NAME.onnx and cases.json, a list of {model, samples, probabilities}.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as ort from "onnxruntime-web";

ort.env.wasm.numThreads = 1;
const folder = process.argv[2];
const cases = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"));
const results = {};
for (const { model, samples, probabilities } of cases) {
  results[model] ??= {
    session: await ort.InferenceSession.create(readFileSync(join(folder, model))),
    recordings: 0, difference: 0, milliseconds: 0,
  };
  const result = results[model];
  const bytes = readFileSync(join(folder, samples));
  const data = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
  const started = performance.now();
  const found = await result.session.run({ samples: new ort.Tensor("float32", data, [data.length]) });
  result.milliseconds += performance.now() - started;
  result.recordings += 1;
  found.probabilities.data.forEach((value, k) => {
    const difference = Math.abs(value - probabilities[k]);
    if (!(difference <= result.difference)) result.difference = difference;
  });
}
for (const result of Object.values(results)) delete result.session;
console.log(JSON.stringify({ version: ort.env.versions.web, results }));
