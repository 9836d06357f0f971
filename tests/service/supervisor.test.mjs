// The supervisor over services without work (tests/fixture/fake_service.c): restarts, giving up, no orphans, no
// line dropped, order of stopping, two supervisors and one home.

import { test } from "node:test";
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { binDir, until } from "./appliance.mjs";

const names = ["vectorstore", "embed", "retrieve", "generate", "ingest", "serve"];

function stage() {
  const dir = mkdtempSync(join(tmpdir(), "carrel-sup-"));
  chmodSync(dir, 0o755);
  const bin = join(dir, "bin");
  mkdirSync(bin);
  copyFileSync(join(binDir, "carrel"), join(bin, "carrel"));
  for (const n of names) copyFileSync(join(dirname(binDir), "tests/fake-service"), join(bin, `carrel-${n}`));
  const home = join(dir, "home");
  return { dir, bin, home, env: { ...process.env, NO_COLOR: "1", CARREL_HOME: home, CARREL_PORT: "" } };
}

function up(s, ...args) {
  const child = spawn(join(s.bin, "carrel"), ["up", "--port", "0", ...args], { env: s.env, stdio: ["ignore", "pipe", "pipe"] });
  const p = { child, out: "", err: "" };
  child.stdout.on("data", (b) => (p.out += b));
  child.stderr.on("data", (b) => (p.err += b));
  p.exited = new Promise((done) => child.once("close", (code, signal) => done({ code, signal })));
  p.ready = () => until("ready.json", () => {
    if (child.exitCode !== null) throw new Error(`ended with ${child.exitCode}\n${p.out}${p.err}`);
    return existsSync(join(s.home, "run/ready.json"));
  }, { every: 20 });
  return p;
}

function run(s, ...args) {
  return new Promise((done) => {
    execFile(join(s.bin, "carrel"), args, { env: s.env }, (e, stdout, stderr) => done({ code: e ? e.code : 0, stdout, stderr }));
  });
}

const status = async (s) => JSON.parse((await run(s, "status", "--json")).stdout);
const service = async (s, name) => (await status(s)).services.find((x) => x.name === name);

/** Processes whose program lies in this stage's bin folder, zombies not counted. */
function processes(s) {
  const out = [];
  for (const pid of readdirSync("/proc").filter((d) => /^\d+$/.test(d))) {
    try {
      const program = readFileSync(`/proc/${pid}/cmdline`, "latin1").split("\0")[0];
      if (program.startsWith(s.bin)) out.push(`${pid} ${program}`);
    } catch {
      // it ended meanwhile
    }
  }
  return out;
}

function staged(what, options, fn) {
  test(what, { timeout: 180_000, ...options }, async (t) => {
    const s = stage();
    const started = [];
    try {
      await fn(s, (...args) => {
        const p = up(s, ...args);
        started.push(p);
        return p;
      }, t);
    } finally {
      for (const p of started) if (p.child.exitCode === null && p.child.signalCode === null) p.child.kill("SIGKILL");
      await Promise.all(started.map((p) => p.exited));
      rmSync(s.dir, { recursive: true, force: true });
    }
  });
}

staged("starts all, says where, stops in order and leaves nothing", {}, async (s, start) => {
  const p = start();
  await p.ready();
  const ready = JSON.parse(readFileSync(join(s.home, "run/ready.json"), "utf8"));
  assert.equal(ready.url, "http://127.0.0.1:4321");
  assert.equal(ready.watch, join(s.home, "watch/main"));
  assert.equal(ready.key_file, join(s.home, "admin.key"));
  assert.equal(ready.pid, p.child.pid);
  assert.ok(statSync(ready.watch).isDirectory());
  assert.equal(statSync(join(s.home, "run/cli.identity")).mode & 0o777, 0o600);
  await until("it says where", () => /web\s+http:\/\/127\.0\.0\.1:4321\//.test(p.out));
  await until("and with what", () => /key\s+crl-fake-key/.test(p.out));
  assert.match(readFileSync(join(s.home, "carrel.yaml"), "utf8"), /#port: 8642/);

  const now = await status(s);
  assert.equal(now.ready, true);
  assert.deepEqual(now.services.map((x) => x.name), names);
  for (const x of now.services) {
    assert.equal(x.state, "ready");
    assert.ok(x.memory_bytes > 100_000);
  }
  const second = up(s);
  assert.equal((await second.exited).code, 1);
  assert.match(second.err, /already running/);
  assert.equal((await run(s, "doctor")).stdout.includes("serve is ready"), true);

  p.child.kill("SIGTERM");
  assert.deepEqual(await p.exited, { code: 0, signal: null });
  assert.equal(existsSync(join(s.home, "run/ready.json")), false);
  assert.deepEqual(processes(s), []);
  assert.deepEqual([...p.err.matchAll(/svc=(\w+) msg=closing/g)].map((m) => m[1]), [...names].reverse());

  const again = start();
  await again.ready();
  assert.doesNotMatch(again.out, /crl-fake-key/, "the key is shown once");
  const stop = await run(s, "stop");
  assert.equal(stop.code, 0, stop.stderr);
  assert.equal((await again.exited).code, 0);
  assert.equal((await run(s, "status")).code, 3);
  assert.equal((await run(s, "stop")).code, 3);
  assert.deepEqual(JSON.parse((await run(s, "status", "--json")).stdout).services, []);
});

staged("the folder that all share is the services' before the first of them starts, also where root left it half made", { skip: process.getuid() !== 0 && "only root's services run as another user" }, async (s, start) => {
  mkdirSync(join(s.home, "system"), { recursive: true });
  start();
  await until("the home is prepared", () => existsSync(join(s.home, "run/cli.identity")));
  assert.notEqual(statSync(join(s.home, "run")).uid, 0);
  assert.equal(statSync(join(s.home, "system")).uid, statSync(join(s.home, "run")).uid);
});

staged("starts again what dies", {}, async (s, start) => {
  const p = start();
  await p.ready();
  const before = await service(s, "embed");
  process.kill(before.pid, "SIGKILL");
  const after = await until("embed is back", async () => {
    const x = await service(s, "embed");
    return x.state === "ready" && x.pid !== before.pid && x;
  });
  assert.equal(after.restarts, 1);
  assert.match(after.last_error, /signal 9/);
  await until("it is told", () => /embed was ended by signal 9/.test(p.err));
  assert.equal((await service(s, "serve")).restarts, 0);
  assert.ok(existsSync(join(s.home, "run/ready.json")));
});

staged("gives up after five crashes, loudly, and the others go on", {}, async (s, start) => {
  mkdirSync(s.home, { recursive: true });
  writeFileSync(join(s.home, "fake.retrieve.crash"), "");
  const p = start();
  const x = await until("retrieve is given up", async () => {
    const r = await run(s, "status", "--json");
    const list = r.stdout === "" ? [] : JSON.parse(r.stdout).services;
    return list.find((v) => v.name === "retrieve" && v.state === "failed");
  }, { every: 200 });
  assert.equal(x.restarts, 4);
  assert.match(x.last_error, /crashing as asked/);
  await until("it is told", () => /retrieve ended by itself .*given up/.test(p.err));
  assert.equal((await service(s, "serve")).state, "ready");
  assert.equal((await run(s, "status")).code, 1);
  assert.equal(existsSync(join(s.home, "run/ready.json")), false);
  p.child.kill("SIGINT");
  assert.equal((await p.exited).code, 0);
});

staged("kill -9 of the supervisor leaves no orphan, and the home can be taken at once", {}, async (s, start) => {
  const p = start();
  await p.ready();
  assert.equal(processes(s).length, names.length + 1);
  p.child.kill("SIGKILL");
  const again = start(); // at once: waits for the dying ones by itself
  await until("the new one is ready", () => {
    if (again.child.exitCode !== null) throw new Error(again.err);
    try {
      return JSON.parse(readFileSync(join(s.home, "run/ready.json"), "utf8")).pid === again.child.pid;
    } catch {
      return false;
    }
  }, { every: 20 });
  assert.equal(processes(s).length, names.length + 1);
  again.child.kill("SIGKILL");
  await until("every process is gone", () => processes(s).length === 0, { every: 20 });
});

staged("drops no line, cuts none short, and names each", {}, async (s, start) => {
  const n = 20_000;
  mkdirSync(s.home, { recursive: true });
  for (const name of ["embed", "ingest"]) writeFileSync(join(s.home, `fake.${name}.lines`), String(n));
  const p = start();
  await p.ready();
  p.child.kill("SIGTERM");
  assert.equal((await p.exited).code, 0);
  for (const name of ["embed", "ingest"]) {
    const mine = p.err.split("\n").filter((l) => l.startsWith(name.padEnd(11)));
    const seen = mine.map((l) => /\| line (\d+) of/.exec(l)).filter(Boolean).map((m) => Number(m[1]));
    assert.equal(seen.length, n);
    assert.ok(seen.every((v, i) => v === i), "in order");
    const xs = mine.filter((l) => /^\S+\s*[|+] x+( \.\.\.)?$/.test(l)).reduce((sum, l) => sum + (l.match(/x/g)?.length ?? 0), 0);
    assert.equal(xs, 100_000, "the very long line came whole");
    assert.ok(mine.some((l) => l.includes("last words")), "a line without end came too");
  }
});

staged("a terminal that stands still stalls nobody and loses nothing", {}, async (s, start) => {
  const n = 700_000; // more than the supervisor's buffer takes
  mkdirSync(s.home, { recursive: true });
  writeFileSync(join(s.home, "fake.embed.lines"), String(n));
  const p = start();
  p.child.stderr.pause();
  await until("the others are ready", async () => {
    const r = await run(s, "status", "--json");
    return r.code !== 3 && r.stdout !== "" && JSON.parse(r.stdout).services.filter((x) => x.state === "ready").length >= 5;
  }, { every: 100 });
  p.child.stderr.resume();
  await p.ready();
  await until("all lines", () => p.err.includes(`line ${n - 1} of ${n}`));
  assert.equal(p.err.match(/\| line \d+ of/g).length, n);
});

staged("a service that does not hear is killed after its patience", {}, async (s, start) => {
  mkdirSync(s.home, { recursive: true });
  const p = start();
  await p.ready();
  const x = await service(s, "generate");
  process.kill(x.pid, "SIGSTOP"); // hears nothing
  const t = Date.now();
  p.child.kill("SIGTERM");
  assert.equal((await p.exited).code, 0);
  assert.ok(Date.now() - t >= 9_000 && Date.now() - t < 60_000, `${Date.now() - t} ms`);
  assert.match(p.err, /generate has not ended within 10 s and is killed/);
  assert.deepEqual(processes(s), []);
});

const HANGS = {
  embed: ["SIGSTOP", /embed hung: no heartbeat for \d+ s \(it is stopped by a signal\); it is killed/],
  retrieve: ["SIGUSR1", /retrieve hung: no heartbeat for \d+ s \(its loop computes without end\); it is killed/],
  generate: ["SIGUSR2", /generate hung: no heartbeat for \d+ s \(its loop waits.*\); it is killed/],
};

staged("a service that hangs is told, killed and started again; the others go on", {}, async (s, start) => {
  mkdirSync(s.home, { recursive: true });
  writeFileSync(join(s.home, "carrel.yaml"), "supervisor:\n  patience: 8s\n");
  const p = start();
  await p.ready();
  const before = await status(s);
  await sleep(2_000); // each has beaten
  for (const [name, [signal]] of Object.entries(HANGS)) process.kill(before.services.find((x) => x.name === name).pid, signal);
  await until("status tells it", async () => (await status(s)).services.some((x) => x.name in HANGS && x.silent_s >= 3), { every: 100 });
  const doctor = JSON.parse((await run(s, "doctor", "--json")).stdout);
  assert.ok(doctor.checks.some((c) => /hangs: no heartbeat for|hung and was started again/.test(c.text)), JSON.stringify(doctor.checks));
  for (const [name, [, said]] of Object.entries(HANGS)) {
    const old = before.services.find((x) => x.name === name);
    const x = await until(`${name} is back`, async () => {
      const now = await service(s, name);
      return now.state === "ready" && now.pid !== old.pid && now;
    }, { every: 100 });
    assert.equal(x.hung, 1);
    assert.match(x.last_error, /hung: no heartbeat .* and was killed/);
    const again = new RegExp(`${name} hung: .* and was killed.*starting it again in 200 ms`);
    await until(`${name}: the reason is told`, () => said.test(p.err) && again.test(p.err));
    assert.ok((await run(s, "status")).stdout.includes("1 of its restarts because it hung"));
  }
  const after = await status(s);
  for (const x of after.services) if (!(x.name in HANGS)) assert.deepEqual([x.restarts, x.hung], [0, 0], x.name);
  p.child.kill("SIGTERM");
  assert.equal((await p.exited).code, 0);
  assert.deepEqual(processes(s), []);
});

staged("whoever hears again in time, or waits for a terminal that stands still, does not hang", {}, async (s, start) => {
  mkdirSync(s.home, { recursive: true });
  writeFileSync(join(s.home, "carrel.yaml"), "supervisor:\n  patience: 5s\n");
  const p = start();
  await p.ready();
  await sleep(2_000);
  const before = await service(s, "embed");
  p.child.stderr.pause();
  process.kill(before.pid, "SIGHUP"); // more lines than the supervisor's buffer takes: its loop stands in write()
  await sleep(8_000);
  assert.deepEqual((({ pid, hung }) => [pid, hung])(await service(s, "embed")), [before.pid, 0]);
  p.child.stderr.resume();
  await until("all lines", () => p.err.includes("line 349999 of 350000"), { every: 500 });
  const now = await service(s, "embed");
  assert.deepEqual([now.pid, now.restarts, now.hung], [before.pid, 0, 0]);
});

staged("a loop that works and gets no processor is waited for", { skip: spawnSync("chrt", ["-V"]).error || spawnSync("taskset", ["-V"]).error ? "chrt and taskset are not there" : false }, async (s, start) => {
  mkdirSync(s.home, { recursive: true });
  writeFileSync(join(s.home, "carrel.yaml"), "supervisor:\n  patience: 5s\n");
  const p = start();
  await p.ready();
  const { pid } = await service(s, "embed");
  await sleep(2_000);
  const others = spawn("taskset", ["-c", "0", process.execPath, "-e", "for (;;);"], { stdio: "ignore" });
  try {
    assert.equal(spawnSync("taskset", ["-cp", "0", String(pid)]).status, 0);
    assert.equal(spawnSync("chrt", ["-i", "-p", "0", String(pid)]).status, 0);
    process.kill(pid, "SIGUSR1"); // a thirtieth of a percent of a processor is its
    await sleep(15_000);
    const now = await service(s, "embed");
    assert.deepEqual([now.pid, now.hung], [pid, 0], p.err.slice(-2000));
  } finally {
    others.kill("SIGKILL");
  }
  assert.equal(spawnSync("chrt", ["-o", "-p", "0", String(pid)]).status, 0);
  await until("with a processor of its own it hangs", async () => (await service(s, "embed")).hung === 1, { every: 200 });
});

staged("with a patience of 0 nobody is killed for silence", {}, async (s, start) => {
  mkdirSync(s.home, { recursive: true });
  writeFileSync(join(s.home, "carrel.yaml"), "supervisor:\n  patience: 0s\n");
  const p = start();
  await p.ready();
  const { pid } = await service(s, "embed");
  await sleep(2_000);
  process.kill(pid, "SIGSTOP");
  await until("status tells it", async () => (await service(s, "embed")).silent_s >= 6, { every: 200 });
  assert.equal((await run(s, "status")).code, 1);
  process.kill(pid, "SIGCONT");
  await until("it beats", async () => (await service(s, "embed")).silent_s === undefined, { every: 100 });
  await until("it is told", () => /embed beats again after \d+ s/.test(p.err));
  assert.equal((await service(s, "embed")).pid, pid);
});

staged("reaches the services by mutual TLS where the configuration says so", {}, async (s, start) => {
  const dir = join(s.dir, "tls");
  mkdirSync(dir);
  const openssl = (...args) => execFileSync("openssl", args, { cwd: dir, stdio: "ignore" });
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
  openssl("req", "-x509", ...ec, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=authority");
  for (const n of [...names, "supervisor", "cli"]) {
    openssl("req", ...ec, "-keyout", `${n}.key`, "-out", `${n}.csr`, "-subj", `/CN=${n}`);
    openssl("x509", "-req", "-in", `${n}.csr`, "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out", `${n}.crt`);
    chmodSync(join(dir, `${n}.key`), 0o644); // the services' user must read it
  }
  mkdirSync(s.home, { recursive: true });
  const base = 20000 + (process.pid % 12000); // below the ports that the system gives away
  writeFileSync(join(s.home, "carrel.yaml"), `rpc:\n  transport: tls\n  tls_ca: ${dir}/ca.crt\n  tls_certificate: ${dir}\n  tls_base_port: ${base}\n`);
  const p = start();
  await p.ready();
  await until("by TLS", () => /svc=embed msg=ready address=tls:127\.0\.0\.1:/.test(p.err));
  assert.ok((await status(s)).services.every((x) => x.state === "ready"));
  p.child.kill("SIGTERM");
  assert.equal((await p.exited).code, 0);
});

staged("plain words for what cannot work", {}, async (s, start) => {
  mkdirSync(s.home, { recursive: true });
  writeFileSync(join(s.home, "carrel.yaml"), "http:\n  prot: 1\n");
  const p = start();
  assert.equal((await p.exited).code, 1);
  assert.match(p.err, /carrel\.yaml:2: http\.prot: there is no such setting/);
  writeFileSync(join(s.home, "carrel.yaml"), "http:\n  port: 1\n");
  mkdirSync(join(s.home, "watch/stranger"), { recursive: true });
  const d = await run(s, "doctor", "--json");
  assert.equal(d.code, 1);
  const report = JSON.parse(d.stdout);
  assert.equal(report.ok, false);
  assert.ok(report.checks.some((c) => c.state === "wrong" && /stranger belongs to no tenant/.test(c.text) && c.mend));
  const server = (await import("node:net")).createServer().listen(0, "127.0.0.1");
  await new Promise((done) => server.once("listening", done));
  const taken = up(s, "--port", String(server.address().port));
  assert.equal((await taken.exited).code, 1);
  assert.match(taken.err, /is taken by another program/);
  server.close();
  await sleep(0);
});
