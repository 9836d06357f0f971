// Backup while serving, restore into an empty folder: the same questions get the same answers, by id and score.
//
// CARREL_BACKUP_QUERIES (default 100) sets how many questions are compared; the long run asks 1000.

import { test } from "node:test";
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync, chmodSync, openSync, readSync, writeSync, closeSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { binDir, holding, startAppliance, temporaryHome, until } from "./appliance.mjs";

const QUERIES = Number(process.env.CARREL_BACKUP_QUERIES ?? 100);
const DOCS = 240;

const nouns = "lantern harbour granite meadow copper violin orchard timber saddle marble candle ferry anchor pepper quarry beacon kettle ledger mirror needle".split(" ");
const verbs = "carries repairs paints measures borrows lifts polishes stores counts weighs".split(" ");
const at = (list, n) => list[n % list.length];

function content(i) {
  const lines = [`# Report ${i} of the ${at(nouns, i * 7)}`];
  for (let k = 0; k < 6; k++) {
    lines.push(`The ${at(nouns, i + k)} ${at(verbs, i * 3 + k)} the ${at(nouns, i * 5 + k * 3)} of section ${k} in year ${1900 + ((i * 13 + k) % 120)}.`);
  }
  return lines.join("\n\n") + "\n";
}

const question = (n) => `which ${at(nouns, n * 3)} ${at(verbs, n)} the ${at(nouns, n * 11 + 1)} ${1900 + ((n * 17) % 120)}`;

/** What a search says, without what differs by nature (times). A side that was missing is told in its notes. */
async function answers(a, n) {
  const out = [];
  for (let i = 0; i < n; i++) {
    const { passages, notes } = await a.post("/api/search", { query: question(i), top_k: 8 });
    out.push([...notes, ...passages.map((p) => [p.document.id, p.document.path, p.id ?? p.chunk, p.score, p.text.length])]);
  }
  return out;
}

/** Words and vectors are both searched: until then a search tells in its notes what is missing. */
async function bothSides(a) {
  await until("vectors are searched", async () => (await a.post("/api/search", { query: "lantern harbour" })).notes.length === 0, { every: 200 });
}

function carrel(args, { fails = false } = {}) {
  const r = spawnSync(join(binDir, "carrel"), args, { encoding: "utf8", env: { ...process.env, NO_COLOR: "1" } });
  if (!fails) assert.equal(r.status, 0, `carrel ${args.join(" ")}: ${r.stderr}`);
  return { code: r.status, out: r.stdout, err: r.stderr, json: () => JSON.parse(r.stdout) };
}

function files(dir) {
  return readdirSync(dir, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? files(join(dir, e.name)) : [join(dir, e.name)]));
}

function flip(path, where = 0.5) {
  const fd = openSync(path, "r+");
  const pos = Math.floor(statSync(path).size * where);
  const b = Buffer.alloc(1);
  readSync(fd, b, 0, 1, pos);
  b[0] ^= 0x40;
  writeSync(fd, b, 0, 1, pos);
  closeSync(fd);
}

async function withFolder(fn) {
  const dir = mkdtempSync(join(tmpdir(), "carrel-backup-"));
  chmodSync(dir, 0o755);
  try {
    await fn(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

test("backup, increment, check, restore: identical answers", { timeout: 300_000 }, () => withFolder(async (dir) => {
  const target = join(dir, "backups");
  const key = join(dir, "key");
  writeFileSync(key, "a long and private sentence about lighthouses\n");
  // one fit, of all: a second between two backups would be a change of its own
  const a = await startAppliance({ config: `http:\n  requests_per_minute: 0\nencoder:\n  first_fit_chunks: ${DOCS}\n` });
  let b;
  try {
    for (let i = 0; i < DOCS; i++) a.drop(`reports/report-${i}.md`, content(i));
    await a.settled({ n: DOCS });
    await a.fitted(DOCS);
    await bothSides(a);
    writeFileSync(join(a.watch, "note.unknown-kind"), Buffer.from([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0, 0, 0])); // no document

    const first = carrel(["backup", target, "--home", a.home, "--key-file", key, "--json"]).json();
    assert.ok(first.new_pieces > 0);
    assert.deepEqual(readdirSync(join(a.home, "run")).filter((n) => n === "backup"), [], "the copy beside is gone");

    // a little changes: little is written; something was erased meanwhile
    mkdirSync(join(a.home, "system/erasures"), { recursive: true });
    writeFileSync(join(a.home, "system/erasures/main"), "\n\n");
    a.drop("reports/report-3.md", content(3) + "\nOne more line about the zeppelin.\n");
    rmSync(join(a.watch, "reports/report-4.md"));
    await until("the change is there", async () => {
      const d = await a.documents();
      return d.length >= DOCS - 1 && !d.some((x) => x.path.endsWith("report-4.md")) && d.every((x) => x.state !== "queued" && x.state !== "working") && (await a.search("zeppelin")).some((p) => p.text.includes("zeppelin"));
    });
    await until("each has its vector", async () => (await a.fitted(DOCS)).missing === 0 && (await a.settled({ n: DOCS - 1 })));
    assert.ok((await a.search(question(1), { mode: "dense" })).length > 0, "an encoder is published");
    const second = carrel(["backup", target, "--home", a.home, "--key-file", key, "--json"]).json();
    assert.ok(second.stored_bytes < first.stored_bytes, `${second.stored_bytes} of ${first.stored_bytes}`);
    const before = await answers(a, QUERIES); // after it: what is asked is audited, and would be in it
    assert.deepEqual(await answers(a, 10), before.slice(0, 10), "nothing changes meanwhile");

    // nothing readable lies in it
    for (const f of files(target)) {
      const bytes = readFileSync(f);
      assert.equal(bytes.includes("zeppelin"), false, f);
      assert.equal(bytes.includes("report-3"), false, f);
    }
    const check = carrel(["backup", "check", target, "--key-file", key, "--json"]).json();
    assert.equal(check.problems, 0);
    const list = carrel(["backup", "list", target, "--key-file", key, "--json"]).json();
    assert.equal(list.length, 2);
    writeFileSync(join(dir, "wrong"), "some other sentence, also long enough\n");
    assert.match(carrel(["backup", "list", target, "--key-file", join(dir, "wrong")], { fails: true }).err, /does not open/);
    assert.match(carrel(["backup", "list", target], { fails: true }).err, /encrypted: give --key-file/);

    // a busy home is refused, an empty one filled
    assert.match(carrel(["restore", target, "--into", a.home, "--key-file", key], { fails: true }).err, /running/);
    const home = temporaryHome();
    carrel(["restore", target, "--into", home, "--key-file", key]);
    b = await startAppliance({ home, config: null });
    await bothSides(b);
    assert.deepEqual(await answers(b, QUERIES), before, "before ingest has looked at the files");
    await b.settled({ n: DOCS - 1 });
    assert.equal((await b.documents()).length, DOCS - 1);
    assert.deepEqual(await answers(b, QUERIES), before, "and after");
    assert.equal(carrel(["verify", "--home", home, "--json"]).json().problems, 0);
    assert.equal(b.key, a.key, "keys are the same");
    await b.stop();
    b = undefined;

    // the first backup is still whole, and goes with --keep 1
    const old = temporaryHome();
    carrel(["restore", target, "--into", old, "--key-file", key, "--backup", first.backup]);
    assert.ok(existsSync(join(old, "watch/main/reports/report-4.md")));
    assert.equal(readFileSync(join(old, "system/erasures/main"), "utf8"), "\n\n", "what was erased since stays erased");
    rmSync(dirname(old), { recursive: true, force: true });
    const third = carrel(["backup", target, "--home", a.home, "--key-file", key, "--keep", "1", "--json"]).json();
    assert.equal(third.removed_backups, 2);
    assert.equal(carrel(["backup", "check", target, "--key-file", key, "--json"]).json().problems, 0);

    // a bit goes over: check says which file
    const piece = files(join(target, "pieces"))[0];
    flip(piece);
    const bad = carrel(["backup", "check", target, "--key-file", key], { fails: true });
    assert.equal(bad.code, 1);
    assert.ok(bad.out.includes(piece), bad.out);
  } finally {
    await b?.stop();
    await a.stop();
  }
}));

test("one tenant out of one appliance into another, under another name, while both serve", { timeout: 300_000 }, () => withFolder(async (dir) => {
  const target = join(dir, "backups");
  const a = await startAppliance();
  const b = await startAppliance();
  try {
    for (let i = 0; i < 30; i++) a.drop(`reports/report-${i}.md`, content(i));
    b.drop("own.md", "# Own\n\nThe glasshouse is heated in March.\n");
    await a.settled({ n: 30 });
    await b.settled({ n: 1 });
    carrel(["backup", target, "--home", a.home, "--tenant", "main", "--with-watch"]);
    assert.match(carrel(["restore", target, "--into", b.home, "--tenant", "main"], { fails: true }).err, /there is a tenant main/);
    assert.match(carrel(["restore", target, "--into", join(dir, "none")], { fails: true }).err, /no backup of the whole appliance/);
    carrel(["restore", target, "--into", b.home, "--tenant", "main", "--as", "guest"]);
    assert.equal(readdirSync(join(b.home, "watch/guest/reports")).length, 30);
    await until("the guest's store agrees", () => carrel(["verify", "--home", b.home, "--json"], { fails: true }).json().documents === 31, { every: 300 });
    assert.equal(carrel(["verify", "--home", b.home, "--json"]).json().problems, 0);
    assert.ok((await b.search("glasshouse heated")).length > 0, "the other tenant goes on");
    assert.equal((await b.search("lantern harbour")).some((p) => p.text.includes("lantern")), false, "and does not see the guest");
  } finally {
    await a.stop();
    await b.stop();
  }
}));

test("a tenant that comes back beside itself under another name begins an audit of its own, and the first one's stays whole", { timeout: 120_000 }, () => withFolder(async (dir) => {
  const target = join(dir, "backups");
  const a = await startAppliance({ config: "audit:\n  checkpoint: 1s\n" });
  const verified = (tenant) => carrel(["audit", "verify", "--home", a.home, "--tenant", tenant, "--json"], { fails: true }).json();
  const signedOnce = async (tenant, than) => until(`a signature in ${tenant}`, () => verified(tenant).checkpoints > than, { every: 200 });
  try {
    a.drop("own.md", "# Own\n\nThe glasshouse is heated in March.\n");
    await a.settled({ n: 1 });
    await a.search("glasshouse heated");
    await signedOnce("main", 0);
    carrel(["backup", target, "--home", a.home]);
    carrel(["restore", target, "--into", a.home, "--tenant", "main", "--as", "copy"]);
    assert.equal(existsSync(join(a.home, "tenants/copy/payload.db")), false, "what main's people asked is not the copy's");
    const came = existsSync(join(a.home, "tenants/copy/audit")) ? verified("copy").checkpoints : 0;
    await until("the copy is set up", () => carrel(["backup", target, "--home", a.home], { fails: true }).code === 0, { every: 500 }); // opens each one's audit
    await signedOnce("copy", came);
    const before = verified("main").checkpoints;
    await a.search("glasshouse heated");
    await signedOnce("main", before);
    assert.deepEqual([verified("main").verdict, verified("copy").verdict], ["whole", "whole"], JSON.stringify(verified("main").findings));
    assert.equal(verified("copy").tenant, "copy");
  } finally {
    await a.stop();
  }
}));

test("models are named with their sums, or come along; a restore tells what must be imported again", { timeout: 180_000 }, () => withFolder(async (dir) => {
  const target = join(dir, "backups");
  const home = temporaryHome();
  const writer = join(dirname(binDir), "tests/write-model");
  const file = join(dir, "tiny.gguf");
  execFileSync(writer, [file, "title=tiny"]);
  execFileSync(writer, [join(dir, "other.gguf"), "title=other", "layers=3"]);
  execFileSync(join(dirname(binDir), "tests/fixture-model"), [join(dir, "encoder.gguf"), "bert"]);
  carrel(["model", "import", file, "--as", "chat", "--name", "tiny", "--home", home]);
  carrel(["model", "import", join(dir, "other.gguf"), "--as", "chat", "--name", "other", "--home", home]); // nobody uses it
  carrel(["model", "import", join(dir, "encoder.gguf"), "--as", "encoder", "--name", "words", "--passage-prefix", "it's: ", "--home", home]);
  const models = JSON.parse(carrel(["model", "list", "--json", "--home", home]).out).models;
  const a = await startAppliance({ home, config: "generate:\n  model: tiny\nencoder:\n  model: words\n" });
  try {
    a.drop("one.md", content(1));
    await a.settled({ n: 1 });
    const named = carrel(["backup", target, "--home", home]);
    assert.match(named.out, /2 models are named and not copied/);
    const one = carrel(["backup", target, "--home", home, "--tenant", "main", "--json"]).json();
    assert.deepEqual([one.models, one.model_files], [2, false]);
    const bare = join(dir, "bare");
    const told = carrel(["restore", target, "--into", bare, "--json"]).json().missing_models;
    assert.deepEqual(told.map((m) => [m.name, m.role, m.sha256]), models.filter((m) => m.name !== "other").map((m) => [m.name, m.role, m.sha256]));
    assert.equal(told.find((m) => m.name === "words").import, `carrel model import FILE --as encoder --name words --query-prefix '' --passage-prefix 'it'\\''s: '`);
    const said = carrel(["restore", target, "--into", join(dir, "bare2")]);
    assert.match(said.out, new RegExp(`model tiny is not here .*sha256 ${models.find((m) => m.name === "tiny").sha256}`));
    // the command that is told brings the same vectors back
    const encoder = models.find((m) => m.name === "words").encoder;
    execFileSync("sh", ["-c", told.find((m) => m.name === "words").import.replace("carrel", join(binDir, "carrel")).replace("FILE", join(dir, "encoder.gguf")) + ` --home ${bare}`]);
    assert.equal(JSON.parse(carrel(["model", "list", "--json", "--home", bare]).out).models.find((m) => m.name === "words").encoder, encoder);

    const withFiles = carrel(["backup", target, "--home", home, "--models", "--json"]).json();
    assert.equal(withFiles.model_files, true);
    const again = carrel(["backup", target, "--home", home, "--models", "--json"]).json();
    assert.ok(again.stored_bytes < withFiles.stored_bytes / 4, "their pieces are there already");
    const full = join(dir, "full");
    assert.deepEqual(carrel(["restore", target, "--into", full, "--json"]).json().missing_models, []);
    assert.equal(carrel(["model", "verify", "--home", full]).code, 0);
    assert.deepEqual(JSON.parse(carrel(["model", "list", "--json", "--home", full]).out).models.map((m) => m.name).sort(), ["tiny", "words"]);
    // into an appliance that has them, nothing is missing
    assert.deepEqual(carrel(["restore", target, "--home", home, "--tenant", "main", "--as", "copy", "--json"]).json().missing_models, []);
  } finally {
    await a.stop();
  }
}));

test("a backup that is killed leaves the earlier one whole; a full disk gives a clear error", { timeout: 300_000, skip: process.getuid() === 0 ? false : "needs root to mount a small tmpfs" }, () => withFolder(async (dir) => {
  const target = join(dir, "backups");
  const a = await startAppliance();
  try {
    for (let i = 0; i < 20; i++) a.drop(`reports/report-${i}.md`, content(i));
    await a.settled({ n: 20 });
    carrel(["backup", target, "--home", a.home]);
    for (let i = 0; i < 8; i++) {
      a.drop(`reports/more-${i}.md`, content(1000 + i));
      const ms = 5 + i * 12;
      spawnSync(join(binDir, "carrel"), ["backup", target, "--home", a.home], { timeout: ms, killSignal: "SIGKILL" });
      assert.equal(carrel(["backup", "check", target, "--json"]).json().problems, 0, `killed after ${ms} ms`);
    }
    const ok = carrel(["backup", target, "--home", a.home, "--json"]).json();
    assert.ok(ok.files > 20);
    assert.deepEqual(readdirSync(join(target, "new")).filter((n) => readdirSync(join(target, "new", n)).length > 0), []);

    const small = join(dir, "small");
    mkdirSync(small);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=256k,mode=755", "tmpfs", small]);
    try {
      const r = carrel(["backup", small, "--home", a.home], { fails: true });
      assert.equal(r.code, 1);
      assert.match(r.err, /space|full/i);
      assert.equal(carrel(["backup", "list", small], { fails: true }).code, 4, "no half backup");
    } finally {
      execFileSync("umount", ["-l", small]);
    }
  } finally {
    await a.stop();
  }
}));

test("evaluations and the trash come back; what was erased since is not in the restored trash", { timeout: 180_000 }, () => withFolder(async (dir) => {
  const target = join(dir, "backups");
  const key = join(dir, "key");
  const home = temporaryHome();
  writeFileSync(key, "a long and private sentence about lighthouses\n");
  const a = await startAppliance();
  let b;
  try {
    for (let i = 0; i < 40; i++) a.drop(`reports/report-${i}.md`, content(i));
    a.drop("old/thrown-away.md", "# Thrown away\n\nThe wheelbarrow was sold in Groningen.\n");
    a.drop("old/copy-of-secret.md", "# Secret\n\nThe password of the boathouse is Kwispedoor.\n");
    await a.settled({ n: 42 });
    await a.post("/api/eval", { questions: 30 });
    await until("an evaluation is kept", async () => {
      const s = await a.get("/api/eval");
      return !s.running && s.runs.length === 1;
    });
    // two documents go to the trash, one of them under another name in the folder again
    for (const d of (await a.documents()).filter((x) => x.path.startsWith("old/"))) {
      assert.ok((await a.request(`/api/documents/${d.id}`, { method: "DELETE" })).ok);
    }
    a.drop("here/secret.md", "# Secret\n\nThe password of the boathouse is Kwispedoor.\n");
    await until("the trash has both, the folder one", async () => existsSync(join(a.home, "trash/main")) && files(join(a.home, "trash/main")).length === 2
      && (await a.documents()).some((d) => d.path === "here/secret.md" && d.state === "ready"));
    const thrown = files(join(a.home, "trash/main")).find((f) => f.endsWith("thrown-away.md"));
    const runs = (await a.get("/api/eval")).runs;
    const first = carrel(["backup", target, "--home", a.home, "--key-file", key, "--json"]).json();
    for (const f of files(target)) assert.equal(readFileSync(f).includes("wheelbarrow"), false, "sealed like the rest");
    const again = carrel(["backup", target, "--home", a.home, "--key-file", key, "--json"]).json();
    assert.ok(again.stored_bytes < first.stored_bytes / 2, "what lies in the trash is not written twice");

    // erased after both: the list goes with the third backup, the first one is put back
    const id = (await a.documents()).find((d) => d.path === "here/secret.md").id;
    const e = await a.post("/api/erasures", { documents: [id] });
    await until("the erasure is done", async () => (await a.get(`/api/erasures/${e.id}`)).state === "done");
    assert.equal(files(join(a.home, "trash/main")).length, 1, "its like in the trash went too");
    carrel(["backup", target, "--home", a.home, "--key-file", key]);
    carrel(["restore", target, "--into", home, "--key-file", key, "--backup", first.backup]);
    assert.equal(files(join(home, "trash/main")).length, 2, "as the first backup had it");
    const back = join(home, thrown.slice(a.home.length + 1));
    assert.equal(readFileSync(back, "utf8"), readFileSync(thrown, "utf8"));
    assert.equal(statSync(back).mtimeMs, statSync(thrown).mtimeMs);
    b = await startAppliance({ home, config: null });
    assert.deepEqual((await b.get("/api/eval")).runs, runs, "the history goes on");
    await until("the erasure is done again", async () => (await b.get(`/api/erasures/${e.id}`).catch(() => ({}))).state === "done");
    assert.deepEqual(files(join(home, "trash/main")), [back]);
    for (const part of ["tenants", "trash", "watch"]) {
      for (const f of files(join(home, part))) assert.equal(readFileSync(f).includes("Kwispedoor"), false, f);
    }
    await b.stop({ keep: true });
    b = undefined;

    // one tenant, under another name, with what is his
    const other = temporaryHome();
    const c = await startAppliance({ home: other });
    try {
      carrel(["restore", target, "--into", other, "--tenant", "main", "--as", "guest", "--key-file", key]);
      assert.equal(files(join(other, "trash/guest")).length, 1);
      assert.ok(existsSync(join(other, "tenants/guest/eval.db")));
      await c.stop({ keep: true }); // while it runs it makes the folders again
      rmSync(join(other, "tenants/guest"), { recursive: true });
      rmSync(join(other, "watch/guest"), { recursive: true, force: true });
      assert.match(carrel(["restore", target, "--into", other, "--tenant", "main", "--as", "guest", "--key-file", key], { fails: true }).err, /trash\/guest holds files/);
    } finally {
      await c.stop();
    }
  } finally {
    await b?.stop();
    await a.stop();
    rmSync(dirname(home), { recursive: true, force: true });
  }
}));

const base32 = (text) => {
  const bits = [...text].map((c) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0")).join("");
  return Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
};

/** RFC 6238, so many steps from now. */
function totp(secret, steps) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + steps));
  const mac = createHmac("sha1", secret).update(counter).digest();
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1_000_000).padStart(6, "0");
}

test("second factors: sealed on the disk, and a restored appliance still knows them", async () => {
  const config = "http:\n  requests_per_minute: 0\n";
  const a = await startAppliance({ config });
  const password = "quiet river stones";
  let b;
  await withFolder(async (dir) => {
    try {
      const made = await a.request("/api/users", { method: "POST", body: { name: "nora", role: "reader", password, must_change_password: false } });
      assert.equal(made.status, 201);
      const first = await a.request("/api/session", { method: "POST", body: { name: "nora", password }, key: null });
      const headers = { cookie: first.headers.get("set-cookie").split(";")[0], "x-csrf-token": (await first.json()).csrf };
      const { secret } = await (await a.request("/api/session/totp", { method: "POST", headers, key: null, body: {} })).json();
      const raw = base32(secret);
      const confirmed = await a.request("/api/session/totp/confirm", { method: "POST", headers, key: null, body: { code: totp(raw, 0) } });
      assert.equal(confirmed.status, 200, await confirmed.text());
      assert.deepEqual(holding(a.home, [raw, secret]), []);
      assert.equal(statSync(join(a.home, "system/secrets.key")).mode & 0o777, 0o600);
      carrel(["backup", join(dir, "b"), "--home", a.home]);
      await a.stop();
      const home = join(dir, "restored");
      carrel(["restore", join(dir, "b"), "--into", home]);
      b = await startAppliance({ home, config });
      const signIn = (code) => b.request("/api/session", { method: "POST", body: { name: "nora", password, code }, key: null });
      assert.equal((await signIn("000000")).status, 401);
      assert.equal((await signIn(totp(raw, 1))).status, 201);
    } finally {
      await b?.stop({ keep: true });
    }
  });
});
