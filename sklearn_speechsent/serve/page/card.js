/* Markdown of a card as elements. Text stays text: HTML in it is shown, never run. */

const ENTITIES = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: "\u00a0" };

/** Literal text: entities of Markdown as characters. */
function plain(text) {
  return text
    .replace(/&(?:#(\d{1,6})|(\w{2,6}));/g, (all, code, name) =>
      code ? String.fromCodePoint(Math.min(Number(code), 0x10ffff)) : (ENTITIES[name] ?? all),
    );
}

// Escaped character, code, strong, emphasis, picture or link.
const INLINE = /\\([!-/:-@[-`{-~])|`([^`]+)`|\*\*(.+?)\*\*|\*(.+?)\*|!\[([^\]]*)\]\([^)]*\)|\[([^\]]+)\]\(([^)\s]+)\)|<?(https?:\/\/[^\s<>|)]+[^\s<>|).,;:])>?/g;

function inline(parent, text) {
  let done = 0;
  const add = (name, inner) => inline(parent.appendChild(document.createElement(name)), inner);
  for (const found of text.matchAll(INLINE)) {
    const [all, escaped, code, strong, emphasis, picture, label, target, address] = found;
    parent.append(plain(text.slice(done, found.index)));
    done = found.index + all.length;
    if (escaped) parent.append(escaped);
    else if (code) parent.appendChild(document.createElement("code")).textContent = plain(code);
    else if (strong) add("strong", strong);
    else if (emphasis) add("em", emphasis);
    else if (picture !== undefined) continue; // the service has no pictures of the card
    else link(parent, label ?? address, target ?? address);
  }
  parent.append(plain(text.slice(done)));
}

function link(parent, label, target) {
  if (!/^https?:\/\//.test(target)) return inline(parent, label);
  const element = parent.appendChild(document.createElement("a"));
  element.href = plain(target);
  element.rel = "noreferrer";
  if (label === target) element.textContent = plain(label);
  else inline(element, label);
}

const cells = (line) =>
  line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim());

function table(parent, lines) {
  const box = parent.appendChild(document.createElement("div"));
  box.className = "scroll";
  box.tabIndex = 0;
  box.role = "region";
  box.ariaLabel = `Table: ${cells(lines[0]).join(", ")}`;
  const element = box.appendChild(document.createElement("table"));
  lines.forEach((line, i) => {
    if (i === 1) return; // the dashes
    const row = element.insertRow();
    for (const text of cells(line)) {
      const cell = row.appendChild(document.createElement(i ? "td" : "th"));
      if (!i) cell.scope = "col";
      inline(cell, text);
    }
  });
}

const BLOCKS = [
  [/^#{1,6} /, (parent, lines) => {
    for (const line of lines) {
      const depth = Math.min(line.match(/^#+/)[0].length + 2, 6); // below the page's own
      inline(parent.appendChild(document.createElement(`h${depth}`)), line.replace(/^#+ /, ""));
    }
  }],
  [/^\|/, (parent, lines) => lines.length > 1 && table(parent, lines)],
  [/^[-*] /, (parent, lines) => list(parent.appendChild(document.createElement("ul")), lines)],
  [/^\d+\. /, (parent, lines) => list(parent.appendChild(document.createElement("ol")), lines)],
  [/^ {4}/, (parent, lines) => {
    parent.appendChild(document.createElement("pre")).textContent = lines.join("\n");
  }],
  [/^/, (parent, lines) => inline(parent.appendChild(document.createElement("p")), lines.join(" "))],
];

function list(parent, lines) {
  for (const line of lines) {
    inline(parent.appendChild(document.createElement("li")), line.replace(/^([-*]|\d+\.) /, ""));
  }
}

const kind = (line) => BLOCKS.findIndex(([start]) => start.test(line));

/** Show a card in an element. */
export function showCard(parent, markdown) {
  parent.replaceChildren();
  const body = markdown.replaceAll("\r\n", "\n").replace(/^---\n[^]*?\n---\n/, "");
  for (const paragraph of body.split(/\n{2,}/)) {
    const lines = paragraph.split("\n").filter((line) => line.trim());
    while (lines.length) {
      const which = kind(lines[0]);
      const isOther = (line) => kind(line) !== which;
      const next = lines.findIndex(isOther);
      BLOCKS[which][1](parent, lines.splice(0, next < 0 ? lines.length : next));
    }
  }
}
