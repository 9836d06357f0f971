#!/usr/bin/env node
// How much of real documents is read: words, order, headings and tables of what carrel-extract yields against the
// expected texts of a folder of documents, and the same of the tool that one would otherwise call, in one run.
//
//   extract DIR [--kind NAME] [--files] [--json]
//
// DIR has files.tsv (file, bytes, sum, expected text, password, ...) and what it names. A kind is the first folder of
// a file's path. Words are counted as often as they come; `order` is the same for pairs of neighbours. Files with a
// password count as refused when they are, and have no part in the figures. --files: a row for each file.

import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { binDir } from "../service/appliance.mjs";
import { common, expectation, pairs, pieces, words } from "./extract_text.mjs";

const args = process.argv.slice(2);
const dir = args[0];
if (!dir || dir.startsWith("--") || !existsSync(join(dir, "files.tsv"))) {
  console.error("usage: extract DIR [--kind NAME] [--files] [--json]; DIR holds files.tsv");
  process.exit(2);
}
const only = args.includes("--kind") ? args[args.indexOf("--kind") + 1] : null;
const measure = join(binDir, "../tests/bench-measure");
const scratch = mkdtempSync(join(tmpdir(), "carrel-bench-"));
const usage = join(scratch, "usage");
const AIM = 0.98;
const LANGUAGES = process.env.BENCH_LANGUAGES ?? "eng";

// by ending, in the order of preference; what is not installed is passed over. "{}": the file
const pandoc = (from) => ["pandoc", "-t", "plain", "--wrap=none", ...(from ? ["-f", from] : []), "{}"];
const peers = {
  ".pdf": [["pdftotext", "{}", "-"]],
  ".docx": [pandoc(), ["docx2txt", "{}", "-"]],
  ".odt": [pandoc()],
  ".epub": [pandoc()],
  ".html": [pandoc("html"), ["w3m", "-dump", "{}"]],
  ".htm": [pandoc("html"), ["w3m", "-dump", "{}"]],
  ".md": [pandoc("gfm"), ["cat", "{}"]],
  ".rst": [pandoc("rst"), ["cat", "{}"]],
  ".ipynb": [pandoc("ipynb")],
  ".org": [pandoc("org")],
  ".rtf": [["unrtf", "--text", "{}"], pandoc("rtf")],
  ".doc": [["catdoc", "-d", "utf-8", "{}"], ["antiword", "{}"]],
  ".xls": [["xls2csv", "-d", "utf-8", "{}"]],
  ".ppt": [["catppt", "-d", "utf-8", "{}"]],
  ".png": [["tesseract", "{}", "-"]],
  ".jpeg": [["tesseract", "{}", "-"]],
};
const raw = [["cat", "{}"]];
// of a scan each page is drawn as we draw it and given to tesseract alone
const scan = [["sh", "-c", 'd=$(mktemp -d) && pdftoppm -gray -r 300 "$0" "$d/p" && for f in "$d"/p*; do OMP_THREAD_LIMIT=1 tesseract "$f" -; done; rm -r "$d"', "{}"]];

const installed = new Map();
function peerOf(file) {
  for (const tool of (/^ocr\/.*\.pdf$/.test(file) ? scan : peers[extname(file).toLowerCase()]) ?? (/^(csv|text|xml|email|markdown)\//.test(file) ? raw : [])) {
    if (!installed.has(tool[0])) installed.set(tool[0], spawnSync("which", [tool[0]]).status === 0);
    if (installed.get(tool[0])) return tool;
  }
  return null;
}

/** Runs it on the file; what it wrote and what it took. */
function run(argv, stdin) {
  const fd = stdin === null ? "ignore" : openSync(stdin, "r");
  const r = spawnSync(measure, [usage, ...argv], { stdio: [fd, "pipe", "ignore"], maxBuffer: 1 << 30, timeout: 120_000 });
  if (fd !== "ignore") closeSync(fd);
  if (r.error && r.error.code !== "ETIMEDOUT") throw r.error;
  return { out: r.stdout ?? Buffer.alloc(0), ...(r.status === 0 ? JSON.parse(readFileSync(usage, "utf8")) : { wall_ms: 120_000, peak_kb: 0, exit: -1 }) };
}

/** Words that a line's end divides are one, on all sides: expected texts of scans keep the lines. */
const undivided = (text) => text.replace(/(\p{L})[-\u00AD]\r?\n\s*(\p{Ll})/gu, "$1$2");

function score(text, want) {
  const got = words(text), expected = words(want.text);
  return {
    expected: expected.length, got: got.length, both: common(expected, got),
    pairs: Math.max(0, expected.length - 1), pairsBoth: common(pairs(expected), pairs(got)),
  };
}

/** The pages whose text is in pictures, one child each as the service does it, in place of what the first reading had. */
function readPictures(path, format, got, used) {
  for (const page of got.unread) {
    const r = run([join(binDir, "carrel-extract"), "--ocr", String(page), "--languages", LANGUAGES, "--min-confidence", "10", ...(format === "image" ? ["--picture"] : [])], path);
    const read = pieces(r.out);
    const length = (blocks) => blocks.reduce((n, b) => n + (b.page === page ? b.text.length : 0), 0);
    used.wall_ms += r.wall_ms;
    used.peak_kb = Math.max(used.peak_kb, r.peak_kb);
    got.failure ??= read.failure;
    if (length(read.blocks) > length(got.blocks)) got.blocks = [...got.blocks.filter((b) => b.page < page), ...read.blocks, ...got.blocks.filter((b) => b.page > page)];
  }
}

/** How many blocks are told as what. */
const told = (blocks) => Object.fromEntries(["heading", "table row", "note"].map((kind) => [kind, blocks.filter((b) => b.kind === kind).length]));

/** Headings and rows that are told as such. */
function structure(blocks, want) {
  const of = (kind) => blocks.filter((b) => b.kind === kind).map((b) => words(b.text).join(" "));
  return { headings: want.headings.length, headingsFound: common(want.headings, of("heading")), rows: want.rows.length, rowsFound: common(want.rows, of("table row")) };
}

function one(row) {
  const path = join(dir, row.file);
  const detect = spawnSync(join(binDir, "carrel-extract"), ["--detect", row.file], { input: readFileSync(path).subarray(0, 4096), encoding: "utf8" });
  const result = { file: row.file, kind: row.file.split("/")[0], format: detect.stdout.trim(), locked: row.password !== "", ours: null, peer: null };
  const want = row.expected === "" || result.locked ? null : expectation(row.expected, readFileSync(join(dir, row.expected), "utf8"));
  const scanned = result.kind === "ocr";
  if (want && scanned) want.text = undivided(want.text);
  result.expected = want !== null;
  if (result.format !== "") {
    const r = run([join(binDir, "carrel-extract"), "--format", result.format], path);
    const got = pieces(r.out);
    readPictures(path, result.format, got, r);
    result.ours = { ms: r.wall_ms, peak_kb: r.peak_kb, ended: r.exit === 0, failure: got.failure, blocks: got.blocks.length, told: told(got.blocks), title: got.title };
    if (want) Object.assign(result.ours, score(`${got.blocks.map((b) => b.text).join("\n")}`, want), structure(got.blocks, want));
  } else if (want) {
    result.ours = { ms: 0, peak_kb: 0, ended: true, failure: "not read", blocks: 0, ...score("", want), ...structure([], want) };
  }
  const tool = want ? peerOf(row.file) : null;
  if (tool) {
    const r = run(tool.map((a) => (a === "{}" ? path : a)), null);
    result.peer = { tool: tool === scan[0] ? "tesseract" : tool[0], ms: r.wall_ms, peak_kb: r.peak_kb, ...score(scanned ? undivided(r.out.toString("utf8")) : r.out.toString("utf8"), want) };
  }
  return result;
}

const table = readFileSync(join(dir, "files.tsv"), "utf8").trimEnd().split("\n").slice(1).map((l) => l.split("\t"));
const rows = table.map(([file, , , expected, password]) => ({ file, expected: (expected ?? "").split(" ")[0], password: password ?? "" }));
const results = rows.filter((r) => only === null || r.file.startsWith(`${only}/`)).map(one);
rmSync(scratch, { recursive: true, force: true });

const sum = (list, f) => list.reduce((n, x) => n + f(x), 0);
const ratio = (a, b) => (b === 0 ? null : a / b);
/** Over words: a long file counts for more; and the file that is read worst. */
function figures(list, side) {
  const with_ = list.filter((r) => r.expected && r[side] !== null).map((r) => r[side]);
  return with_.length === 0 ? null : {
    files: with_.length,
    recall: ratio(sum(with_, (x) => x.both), sum(with_, (x) => x.expected)),
    mean_recall: ratio(sum(with_, (x) => ratio(x.both, x.expected) ?? 1), with_.length),
    precision: ratio(sum(with_, (x) => x.both), sum(with_, (x) => x.got)),
    order: ratio(sum(with_, (x) => x.pairsBoth), sum(with_, (x) => x.pairs)),
    headings: side === "ours" ? ratio(sum(with_, (x) => x.headingsFound), sum(with_, (x) => x.headings)) : undefined,
    rows: side === "ours" ? ratio(sum(with_, (x) => x.rowsFound), sum(with_, (x) => x.rows)) : undefined,
    ms: sum(with_, (x) => x.ms), peak_mb: Math.max(...with_.map((x) => x.peak_kb)) / 1024,
    tool: side === "peer" ? [...new Set(with_.map((x) => x.tool))].join(", ") : undefined,
  };
}
const kinds = [...new Set(results.map((r) => r.kind))].map((kind) => {
  const of = results.filter((r) => r.kind === kind);
  return {
    kind, files: of.length, read: of.filter((r) => r.ours?.failure === null).length,
    not_read: of.filter((r) => r.format === "").map((r) => r.file),
    told: Object.fromEntries(["heading", "table row", "note"].map((kind) => [kind, sum(of, (r) => r.ours?.told?.[kind] ?? 0)])),
    ours: figures(of, "ours"), peer: figures(of.filter((r) => r.peer), "peer"), beside_peer: figures(of.filter((r) => r.peer), "ours"),
  };
});
const bad = results.filter((r) => r.ours && !r.ours.ended).map((r) => r.file);

if (args.includes("--json")) {
  console.log(JSON.stringify({ aim: AIM, kinds, files: results, crashed: bad }, null, 2));
} else {
  const f = (x) => (x === null || x === undefined ? "–" : x.toFixed(3));
  console.log("| kind | files read | recall (mean of files) | precision | order | headings | rows | ms | peak MB | other tool | its recall | its precision | its order | its ms |");
  console.log("| --- ".repeat(14) + "|");
  for (const k of kinds) {
    const o = k.ours, p = k.peer;
    console.log(`| ${k.kind} | ${k.read} of ${k.files} | ${f(o?.recall)} (${f(o?.mean_recall)}) | ${f(o?.precision)} | ${f(o?.order)} | ${f(o?.headings)} | ${f(o?.rows)} | ${o ? o.ms.toFixed(0) : "–"} | ${o ? o.peak_mb.toFixed(0) : "–"} | ${p ? p.tool : "–"} | ${f(p?.recall)} | ${f(p?.precision)} | ${f(p?.order)} | ${p ? p.ms.toFixed(0) : "–"} |`);
  }
  if (args.includes("--files")) {
    for (const r of results) {
      const o = r.ours;
      const says = r.format === "" ? "not read" : o.failure !== null ? `failed: ${o.failure}` : `${o.blocks} blocks`;
      console.log(`${r.file}: ${r.format || "?"}; ${says}${r.expected ? `; recall ${f(ratio(o.both, o.expected))}, precision ${f(ratio(o.both, o.got))}, order ${f(ratio(o.pairsBoth, o.pairs))}` : ""}${r.peer ? `; ${r.peer.tool} ${f(ratio(r.peer.both, r.peer.expected))}` : ""}${o ? `; ${o.ms.toFixed(0)} ms, ${(o.peak_kb / 1024).toFixed(0)} MB` : ""}`);
    }
  }
  console.log(`\ntold in all, with expected texts or without: ${kinds.map((k) => `${k.kind} ${k.told.heading} headings, ${k.told["table row"]} rows, ${k.told.note} notes`).join("; ")}`);
  console.log(`time beside the other tool, each a process: ${kinds.filter((k) => k.peer).map((k) => `${k.kind} ${(k.beside_peer.ms / k.peer.ms).toFixed(2)} of ${k.peer.tool}`).join("; ")}`);
  const below = results.filter((r) => r.expected && (ratio(r.ours.both, r.ours.expected) ?? 1) < AIM);
  const behind = results.filter((r) => r.peer && r.ours.both < r.peer.both);
  console.log(`kinds that are not read: ${[...new Set(results.filter((r) => r.format === "").map((r) => extname(r.file)))].join(" ") || "none"}`);
  console.log(`below ${AIM}: ${below.map((r) => `${r.file} ${f(ratio(r.ours.both, r.ours.expected))}`).join(", ") || "none"}`);
  console.log(`below the other tool: ${behind.map((r) => `${r.file} ${f(ratio(r.ours.both, r.ours.expected))} < ${r.peer.tool} ${f(ratio(r.peer.both, r.peer.expected))}`).join(", ") || "none"}`);
  if (bad.length > 0) console.log(`ENDED BADLY: ${bad.join(", ")}`);
}
process.exitCode = bad.length > 0 ? 1 : 0;
