/* Results and recordings as files. */

const number = (value, digits) => (value === null ? "" : String(Number(value.toFixed(digits))));
const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : String(text));

/** Table with the columns of a time line. */
export function asCsv(result) {
  const levels = result.levels.map((level) => `p(${level})`);
  const lines = [["file", "start", "end", "level", "expected", ...levels, "speech", "final"]];
  for (const row of result.rows) {
    lines.push([
      result.source,
      number(row.start, 4),
      number(row.end, 4),
      row.level ?? "",
      number(row.expected, 6),
      ...result.levels.map((_, i) => number(row.probabilities[i] ?? null, 6)),
      number(row.speech, 3),
      row.final ? "True" : "False",
    ]);
  }
  return lines.map((cells) => cells.map(quoted).join(",") + "\r\n").join("");
}

export const asJson = (result) => JSON.stringify(result, null, 1) + "\n";

/** Blocks of 16-bit samples as a WAV file. */
export function asWav(blocks, rate) {
  const size = blocks.reduce((sum, block) => sum + block.byteLength, 0);
  const header = new DataView(new ArrayBuffer(44));
  const text = (at, letters) => [...letters].forEach((c, i) => header.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF");
  header.setUint32(4, 36 + size, true);
  text(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  text(36, "data");
  header.setUint32(40, size, true);
  return new Blob([header, ...blocks], { type: "audio/wav" });
}

/** Let the browser save a file. */
export function save(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
