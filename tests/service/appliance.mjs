// Starts a whole appliance on a temporary home for a test or a benchmark, and stops it again.
//
//   const a = await startAppliance();
//   await a.drop("notes/hello.txt", "text");
//   const list = await a.settled();          // every file ready or failed
//   const r = await a.post("/api/search", { query: "hello" });
//   await a.stop();
//
// CARREL_BIN names the folder with the binaries (default build/release/bin).

import { spawn } from "node:child_process";
import { mkdtempSync, existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync, renameSync, chmodSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { compare } from "./openapi.mjs";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
export const binDir = resolve(process.env.CARREL_BIN ?? join(root, "build/release/bin"));

const REQUEST_MS = 120_000; // longer than anything that answers

/** What the promise gives, or after ms an error that says what was awaited: no wait here is without an end. */
export async function within(ms, what, promise) {
  const timer = new AbortController();
  try {
    return await Promise.race([
      promise,
      sleep(ms, null, { signal: timer.signal }).then(() => {
        throw new Error(`no end within ${ms} ms: ${what}`);
      }),
    ]);
  } finally {
    timer.abort();
  }
}

/** Poll until fn returns something truthy; the last value or a time-out error that says what was awaited. The bound only finds what
 *  never comes: how quick a machine is, is no test's matter, so nobody gives a shorter one. */
export async function until(what, fn, { timeout = 60_000, every = 50 } = {}) {
  const end = Date.now() + timeout;
  for (;;) {
    const v = await within(timeout + REQUEST_MS, what, fn());
    if (v) return v;
    if (Date.now() > end) throw new Error(`timed out after ${timeout} ms: ${what}`);
    await sleep(every);
  }
}

/** What is counted for a day or a month begins anew at midnight UTC: a test that would cross it waits until it is past. */
export async function sameDay() {
  const left = 86_400_000 - (Date.now() % 86_400_000);
  if (left < 180_000) await sleep(left + 1000);
}

/** A port that nobody listens at, below those that the system gives to whoever asks for any: it stays free until it is used. */
export async function freePort() {
  for (let i = 0; i < 100; i++) {
    const port = 10_000 + Math.floor(Math.random() * 10_000);
    const server = createServer();
    const free = await new Promise((done) => server.once("error", () => done(false)).listen(port, "127.0.0.1", () => server.close(() => done(true))));
    if (free) return port;
  }
  throw new Error("no port is free");
}

export function temporaryHome(prefix = "carrel-test-") {
  const dir = mkdtempSync(join(tmpdir(), prefix));
  chmodSync(dir, 0o755); // the system user must be able to pass through when started as root
  return join(dir, "home");
}

/** Files below dir that hold any of the needles, as bytes. */
export function holding(dir, needles, skip = []) {
  const found = [];
  const walk = (d) => {
    for (const name of readdirSync(d)) {
      const path = join(d, name);
      const st = lstatSync(path, { throwIfNoEntry: false });
      if (!st || skip.includes(path)) continue;
      if (st.isDirectory()) walk(path);
      else if (st.isFile()) {
        const bytes = readFileSync(path);
        for (const n of needles) if (bytes.includes(Buffer.from(n))) found.push(`${path}: ${n}`);
      }
    }
  };
  walk(dir);
  return found;
}

export class Appliance {
  constructor(home, child) {
    this.home = home;
    this.child = child;
    this.output = "";
    this.exited = new Promise((done) => child.once("exit", (code, signal) => done({ code, signal })));
  }

  async request(path, { method = "GET", body, headers = {}, key = this.key, signal } = {}) {
    const h = { ...headers };
    if (key !== null && key !== undefined) h.authorization = `Bearer ${key}`;
    const isJson = body !== undefined && typeof body !== "string" && !(body instanceof Uint8Array) && !(body instanceof FormData);
    if (isJson) h["content-type"] = "application/json";
    try {
      return await fetch(this.url + path, { method, headers: h, body: isJson ? JSON.stringify(body) : body, signal: signal ?? AbortSignal.timeout(REQUEST_MS) });
    } catch (e) {
      if (e.name !== "TimeoutError") throw e;
      throw new Error(`${method} ${path}: no answer within ${REQUEST_MS} ms\n${this.output.slice(-4000)}`);
    }
  }

  async get(path) {
    const r = await this.request(path);
    if (!r.ok) throw new Error(`GET ${path}: ${r.status} ${await r.text()}`);
    return r.json();
  }

  async post(path, body) {
    const r = await this.request(path, { method: "POST", body });
    if (!r.ok) throw new Error(`POST ${path}: ${r.status} ${await r.text()}`);
    return r.json();
  }

  /** Write a file into the watched folder the way an editor does: beside, then rename. */
  drop(name, content) {
    const path = join(this.watch, name);
    mkdirSync(dirname(path), { recursive: true });
    const tmp = join(dirname(path), `.${Math.random().toString(36).slice(2)}.tmp`);
    writeFileSync(tmp, content);
    renameSync(tmp, path);
    return path;
  }

  async documents() {
    return (await this.get("/api/documents")).documents;
  }

  /** Wait until every document is ready or failed, and there are at least n. */
  async settled({ n = 1, timeout = 120_000 } = {}) {
    return until(
      `${n} documents settled`,
      async () => {
        const list = await this.documents().catch(() => []);
        return list.length >= n && list.every((d) => d.state === "ready" || d.state === "failed") && list;
      },
      { timeout, every: 100 },
    );
  }

  /** Wait until the published encoder was fitted on n passages and each has its vector. With encoder.first_fit_chunks: n there was no
   *  fit before, and before they have grown by encoder.refit_growth_percent there is none after. */
  async fitted(n) {
    return until(`an encoder fitted on ${n} passages`, async () => {
      const l = await this.get("/api/encoders").catch(() => null);
      const e = l?.encoders.find((x) => x.state === "published");
      return e?.fitted_on >= n && e.missing === 0 && e;
    }, { every: 200 });
  }

  async search(query, more = {}) {
    return (await this.post("/api/search", { query, ...more })).passages;
  }

  /** Orderly stop (SIGTERM). Resolves with the exit of `carrel up`. */
  async stop({ keep = false } = {}) {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill("SIGTERM");
    const end = await Promise.race([this.exited, sleep(60_000, null, { ref: false })]);
    if (end === null) {
      this.child.kill("SIGKILL");
      throw new Error(`carrel up did not stop within 60 s\n${this.output.slice(-4000)}`);
    }
    if (!keep) rmSync(dirname(this.home), { recursive: true, force: true });
    return end;
  }

  /** Pull the plug: the supervisor and everything below it. */
  async kill() {
    this.child.kill("SIGKILL");
    await within(60_000, "carrel up ends when it is killed", this.exited);
  }
}

export async function startAppliance({ home = temporaryHome(), config = "http:\n  requests_per_minute: 0\n", env = {}, timeout = 60_000, args = [] } = {}) {
  if (config !== null) {
    mkdirSync(home, { recursive: true });
    writeFileSync(join(home, "carrel.yaml"), config);
  }
  const ready = join(home, "run/ready.json");
  rmSync(ready, { force: true });
  const child = spawn(join(binDir, "carrel"), ["up", "--home", home, "--port", "0", ...args], {
    env: { ...process.env, NO_COLOR: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const a = new Appliance(home, child);
  const keep = (chunk) => {
    a.output = (a.output + chunk).slice(-400_000);
    if (process.env.CARREL_TEST_VERBOSE) process.stderr.write(chunk);
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  try {
    await until("run/ready.json", () => {
      if (child.exitCode !== null) throw new Error(`carrel up ended with ${child.exitCode}\n${a.output.slice(-4000)}`);
      return existsSync(ready);
    }, { timeout, every: 20 });
  } catch (e) {
    child.kill("SIGKILL");
    e.message += `\n${a.output.slice(-4000)}`;
    throw e;
  }
  const info = JSON.parse(readFileSync(ready, "utf8"));
  a.url = info.url.replace(/\/$/, "");
  compare(a.url);
  a.watch = info.watch;
  a.keyFile = info.key_file;
  a.key = readFileSync(info.key_file, "utf8").trim();
  return a;
}
