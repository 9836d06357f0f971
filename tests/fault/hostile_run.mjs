// One document through the real carrel-extract, as ingest runs it, and how that ended.
//
//   node tests/fault/hostile_run.mjs PATH...     what became of each file, and of each file of a folder; fails if
//                                                one ended otherwise than read or refused with a reason

import { spawn } from "node:child_process";
import { closeSync, lstatSync, mkdtempSync, openSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { pieces } from "../bench/extract_text.mjs";
import { binDir } from "../service/appliance.mjs";

const limits = { "memory-mb": 512, "cpu-s": 20, "output-mb": 64, "open-files": 64, processes: 16, members: 1000, "unpacked-kb": 65536 };
const WALL_MS = 40_000;
const KEPT = 8 << 20; // of the output: enough to see how it began; the end is kept anyway

function collect(stream) {
  const parts = [];
  let size = 0;
  stream.on("data", (d) => {
    parts.push(d);
    size += d.length;
  });
  return { all: () => Buffer.concat(parts), size: () => size };
}

/** path: a file. Resolves with { failure: "", or why it was refused }, or { bad: what went wrong }. */
export function extract(path, format, { extra = [] } = {}) {
  return new Promise((done) => {
    const started = Date.now();
    const fd = openSync(path, "r");
    const args = [`--format=${format}`, ...Object.entries(limits).flatMap(([k, v]) => [`--${k}`, String(v)]), ...extra];
    // the leak checker starts a thread at exit, which the sandbox refuses
    const child = spawn(join(binDir, "carrel-extract"), args, { stdio: [fd, "pipe", "pipe"], env: { ...process.env, ASAN_OPTIONS: "detect_leaks=0" } });
    const out = collect(child.stdout);
    const said = collect(child.stderr);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill("SIGKILL");
    }, WALL_MS);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      closeSync(fd);
      done({ ms: Date.now() - started, bytes: out.size(), ...judge(out.all(), said.all().toString(), code, signal, late) });
    });
  });
}

function judge(bytes, said, code, signal, late) {
  if (late) return { bad: "it never ended" };
  if (signal === "SIGXCPU" || signal === "SIGKILL") return { bad: `processor time ran out (${signal})` };
  if (signal !== null || code !== 0) return { bad: `it ended with ${signal ?? code}: ${said.slice(0, 2000)}` };
  if (said !== "") return { bad: `it wrote to standard error: ${said.slice(0, 2000)}` };
  const got = bytes.length > KEPT ? pieces(lastPieces(bytes)) : pieces(bytes);
  if (got.done === (got.failure !== null)) return { bad: "its last piece does not say how it went" };
  if (got.failure !== null && !/^\S.{8,}/.test(got.failure)) return { bad: `no reason: "${got.failure}"` };
  if (got.failure !== null && /errno|\(null\)|0x[0-9a-f]{4}/i.test(got.failure)) return { bad: `no sentence for people: ${got.failure}` };
  return { failure: got.failure ?? "" };
}

/** The tail of a long output, from a piece's beginning. */
function lastPieces(bytes) {
  let at = 0;
  for (let next = 0; next + 4 <= bytes.length; next = at + 4 + bytes.readUInt32LE(at)) {
    at = next;
    if (bytes.length - at < KEPT) break;
  }
  return bytes.subarray(at);
}

export function detect(path, name = basename(path)) {
  return new Promise((done) => {
    const fd = openSync(path, "r");
    const child = spawn(join(binDir, "carrel-extract"), ["--detect", name], { stdio: [fd, "pipe", "ignore"] });
    const out = collect(child.stdout);
    child.on("close", () => {
      closeSync(fd);
      done(out.all().toString().trim());
    });
  });
}

/** Runs `each` over the list, two at a time. */
export async function twoAtATime(list, each) {
  let next = 0;
  const worker = async () => {
    while (next < list.length) await each(list[next++]);
  };
  await Promise.all([worker(), worker()]);
}

/** A folder for samples that goes away. */
export function scratch() {
  const dir = mkdtempSync(join(tmpdir(), "carrel-hostile-"));
  let n = 0;
  return {
    dir,
    keep: (data) => {
      const path = join(dir, String(n++));
      writeFileSync(path, data);
      return path;
    },
    drop: (path) => rmSync(path, { force: true }),
    remove: () => rmSync(dir, { recursive: true, force: true }),
  };
}

function* filesIn(path) {
  const st = lstatSync(path);
  if (st.isDirectory()) for (const name of readdirSync(path).sort()) yield* filesIn(join(path, name));
  else if (st.isFile()) yield path;
}

async function main(paths) {
  let bad = 0;
  await twoAtATime([...paths].flatMap((p) => [...filesIn(p)]), async (path) => {
    const format = await detect(path);
    const r = format === "" ? { failure: "(of no kind that is read)", ms: 0 } : await extract(path, format);
    bad += r.bad ? 1 : 0;
    console.log(`${r.bad ? "BAD " : r.failure ? "no  " : "read"} ${String(r.ms).padStart(6)} ms  ${format.padEnd(9)} ${path}${r.bad || r.failure ? `: ${r.bad ?? r.failure}` : ""}`);
  });
  process.exitCode = bad > 0 ? 1 : 0;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await main(process.argv.slice(2));
