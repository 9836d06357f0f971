// What two texts have in common, and what carrel-extract writes. For extract.mjs.

const KINDS = ["", "paragraph", "heading", "list item", "table row", "code", "caption", "quote", "furniture", "note"];
const single = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]/u;

/** Runs of letters and digits, in lower case, compatibility forms made one; where words are not set apart, characters. */
export function words(text) {
  const out = [];
  const joined = text.normalize("NFKC").replace(/(\p{L})[-\u00AD\u2010]\r?\n(?=\p{Ll})/gu, "$1"); // broken at a line's end
  const plain = joined.replace(/\u00AD/g, "").toLowerCase();
  for (const [run] of plain.matchAll(/[\p{L}\p{N}\p{M}]+/gu)) {
    if (!single.test(run)) out.push(run);
    else for (const part of run.match(/[\p{Script=Latin}\p{N}]+|./gu)) out.push(part);
  }
  return out;
}

function bag(list) {
  const m = new Map();
  for (const x of list) m.set(x, (m.get(x) ?? 0) + 1);
  return m;
}

/** How many of the one are in the other, each counted as often as it is in both. */
export function common(a, b) {
  const m = bag(b);
  let n = 0;
  for (const x of a) {
    const left = m.get(x) ?? 0;
    if (left > 0) {
      n++;
      m.set(x, left - 1);
    }
  }
  return n;
}

/** Neighbours: they tell whether the order is right, and words from the next column do not count. */
export const pairs = (list) => list.slice(1).map((w, i) => `${list[i]} ${w}`);

/** Expected text: Markdown's and HTML's own signs are no words. */
function fromMarkdown(text) {
  return text
    .replace(/<!--[^]*?-->/g, " ")
    .replace(/!?\[([^\]]*)\]\((?:[^()\s]|\([^()]*\))*(?:\s+"[^"]*")?\)/g, "$1")
    .replace(/^```\w*$/gm, "")
    .replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&quot;/g, '"').replace(/&amp;/g, "&")
    .replace(/\\([_*#|])/g, "$1");
}

const withoutTags = (html) => html.replace(/<(style|script)[^]*?<\/\1>/gi, " ").replace(/<[^>]*>/g, " ").replace(/&nbsp;/g, " ").replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");

const strings = (v) => (typeof v === "string" ? [v] : v !== null && typeof v === "object" ? Object.values(v).flatMap(strings) : []);

/** A parsed message: who, to whom, about what, and its bodies; what is attached belongs to documents of their own. */
function fromMessage(message) {
  const out = [];
  const shown = new Set(["from", "to", "cc", "subject"]);
  for (const h of message.parts[0].headers) if (shown.has(String(h.name?.other ?? h.name).toLowerCase())) out.push(...strings(h.value));
  const bodies = message.text_body.length > 0 ? message.text_body : message.html_body;
  for (const i of bodies) {
    const body = message.parts[i].body;
    if (body.Text !== undefined) out.push(body.Text);
    else if (body.Html !== undefined) out.push(withoutTags(body.Html));
    else if (body.Message !== undefined) out.push(fromMessage(body.Message));
  }
  return out.join("\n");
}

function fromRows(rows) {
  return rows.map((r) => (Array.isArray(r) ? r.join(" ") : Object.entries(r).map(([k, v]) => `${k}: ${v}`).join("\n"))).join("\n");
}

/** The expected text of a file, with the headings and the rows of tables where it tells them. */
export function expectation(path, text) {
  if (path.endsWith(".json")) {
    const json = JSON.parse(text);
    return { text: Array.isArray(json) ? fromRows(json) : json.parts ? fromMessage(json) : strings(json).join("\n"), headings: [], rows: [] };
  }
  if (path.endsWith(".html")) return { text: withoutTags(text), headings: [], rows: [] };
  if (!path.endsWith(".md")) return { text, headings: [], rows: [] };
  const plain = fromMarkdown(text);
  const lines = plain.split("\n");
  return {
    text: plain,
    headings: lines.filter((l) => /^#{1,6} /.test(l)).map((l) => words(l).join(" ")).filter((l) => l !== ""),
    rows: lines.filter((l) => /^\|.*\|\s*$/.test(l) && !/^[|\s:-]+$/.test(l)).map((l) => words(l).join(" ")).filter((l) => l !== ""),
  };
}

// ---- what the extractor writes: a length and a packed ex.Piece, again and again ----

function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let v = 0, shift = 1;
    for (;;) {
      const b = bytes[at++];
      if (b === undefined) throw new Error("a message ends too early");
      v += (b & 127) * shift;
      if (b < 128) return v;
      shift *= 128;
    }
  };
  while (at < bytes.length) {
    const tag = varint();
    const wire = tag & 7;
    if (wire === 0) yield [tag >> 3, varint()];
    else if (wire === 2) {
      const n = varint();
      yield [tag >> 3, bytes.subarray(at, at + n)];
      at += n;
    } else if (wire === 5) at += 4;
    else if (wire === 1) at += 8;
    else throw new Error(`wire type ${wire}`);
  }
}

/** {blocks: [{kind, level, page, text}], title, failure, unread: [page]} */
export function pieces(bytes) {
  const out = { blocks: [], title: "", failure: null, done: false, unread: [] };
  for (let at = 0; at + 4 <= bytes.length;) {
    const n = bytes.readUInt32LE(at);
    for (const [field, value] of fields(bytes.subarray(at + 4, at + 4 + n))) {
      const inner = Buffer.isBuffer(value) ? () => Object.fromEntries(fields(value)) : null;
      if (field === 1) out.title = inner()[2]?.toString() ?? "";
      if (field === 2) {
        const b = inner();
        out.blocks.push({ kind: KINDS[b[1]] ?? `kind ${b[1]}`, text: b[2].toString(), level: b[3] ?? 0, page: b[4] ?? 0 });
      }
      if (field === 3) out.done = value === 1;
      if (field === 40) out.unread.push(inner()[1]);
      if (field === 4) out.failure = inner()[2].toString();
    }
    at += 4 + n;
  }
  return out;
}
