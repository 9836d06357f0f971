// Erasure: nothing of a document is left in any file of the data directory, whatever happens meanwhile.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { binDir, holding, startAppliance, until } from "./appliance.mjs";

const config = "http:\n  requests_per_minute: 0\nencoder:\n  first_fit_chunks: 60\n  gate: false\n  min_document_frequency: 1\n  dimensions: 16\n";
const marker = "Zwyrkqvoplex";
const secret = (n) => `# Dossier ${n}\n\nThe courier ${marker}${n}ian met Ulfhardtsson${n} behind the mill.\n\n## Second part\n\nEvery ${marker}${n}ian envelope was sealed with ${marker.toLowerCase()}${n} wax, said Ulfhardtsson${n}.\n`;

/** What of the n-th secret could stand somewhere: as written, folded, stemmed, in parts. */
const forms = (n) => [`${marker}${n}`, `${marker}${n}`.toLowerCase(), `Ulfhardtsson${n}`, `ulfhardtsson${n}`, `dossier ${n}\n`];

async function fill(a, count) {
  for (let i = 0; i < count; i++) {
    a.drop(`notes/n${i}.md`, `# Note ${i}\n\nThe harbour keeps ${["boats", "ropes", "nets", "buoys", "oars"][i % 5]} in shed ${i} beside the ${["north", "south", "east"][i % 3]} quay, ${["painted", "tarred", "mended"][i % 3]} every spring by crew ${i % 7}.\n`);
  }
  await a.settled({ n: count });
}

const encoderOf = async (a) => (await a.post("/api/search", { query: "boats in the shed" })).encoder;

async function erased(a, id, timeout = 60_000) {
  return until("the erasure is done", async () => {
    const e = await a.get(`/api/erasures/${id}`).catch(() => null);
    return e?.state === "done" && e;
  }, { timeout, every: 100 });
}

const cli = (a, ...args) => new Promise((done) => {
  execFile(join(binDir, "carrel"), [...args, "--home", a.home], { encoding: "utf8" }, (e, stdout, stderr) => done({ code: e ? e.code : 0, stdout, stderr }));
});

let a;
before(async () => {
  a = await startAppliance({ config });
  await fill(a, 60);
  const { name } = await a.fitted(60);
  assert.match(name, /^carrel-lsa/);
  await until("it is searched with", async () => (await encoderOf(a)) === name);
});
after(async () => a?.stop());

test("a document leaves search at once and every file in the end, and the certificate says so", async () => {
  a.drop("secret/one.md", secret(9)); // what it was before: a version
  await a.settled({ n: 61 });
  a.drop("secret/one.md", secret(1));
  a.drop("secret/other.md", secret(2));
  // what people ask is kept in the audit, also where nothing of a document answered it: so ask without its words
  await until("the change is found", async () => (await a.search("courier met behind the mill")).some((p) => p.text.includes(`${marker}1ian`)));
  const list = await a.settled({ n: 62 });
  const doc = list.find((d) => d.path === "secret/one.md");
  const answer = await a.post("/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: `Whom did ${marker}1ian meet?` }] });
  assert.match(answer.choices[0].message.content, /mill/);
  assert.ok(holding(a.home, forms(1)).length > 0 && holding(a.home, forms(9)).length > 0, "before, its bytes are in the files");

  const dry = await a.post("/api/erasures", { documents: [doc.id], dry_run: true });
  assert.equal(dry.id, null);
  assert.equal(dry.documents[0].path, "secret/one.md");
  const begun = await a.post("/api/erasures", { documents: [doc.id] });
  const e = await erased(a, begun.id);
  assert.deepEqual(holding(a.home, [...forms(1), ...forms(9)]), []);
  assert.ok(holding(a.home, forms(2)).length > 0, "another document stays");
  assert.ok(!existsSync(join(a.watch, "secret/one.md")));
  assert.ok((await a.search(`${marker}1ian`)).every((p) => p.document.path !== "secret/one.md"));
  assert.ok((await a.search(`${marker}2ian`)).some((p) => p.document.path === "secret/other.md"));

  const c = e.certificate.certificate;
  assert.equal(c.documents[0].path, "secret/one.md");
  assert.equal(c.documents[0].source, "deleted");
  assert.equal(c.verification.result, "nothing found");
  assert.ok(c.verification.traces > 0 && c.verification.files > 3);
  assert.ok(c.removed.answers >= 1, "the answer that quotes it");
  assert.ok(c.removed.contents >= 1, "its texts and chunks");

  assert.equal((await a.request(`/api/documents/${doc.id}`)).status, 404);
  const verify = await a.post("/api/erasures", { documents: [doc.id] }).catch((x) => x);
  assert.match(String(verify), /404/);
});

test("what was erased does not come back by a copy, until it is allowed", async () => {
  a.drop("secret/again.md", secret(1));
  const doc = await until("it is refused", async () => (await a.documents()).find((d) => d.path === "secret/again.md" && d.state === "failed"));
  assert.match(doc.error, /was erased/);
  const id = /erasure ([a-z0-9]{26})/.exec(doc.error)[1];
  await a.post(`/api/erasures/${id}/allow`, {});
  a.drop("secret/again.md", `${secret(1)}\n`);
  a.drop("secret/thrice.md", secret(1));
  await until("it is taken in", async () => (await a.documents()).find((d) => d.path === "secret/thrice.md" && d.state === "ready"));
});

test("what came after the fit goes without another fit; what the fit was made of does not", async () => {
  const before = await encoderOf(a);
  a.drop("fleeting.md", "# Fleeting\n\nA remark about marigolds that nobody keeps.");
  const doc = await until("it is ready", async () => (await a.documents()).find((d) => d.path === "fleeting.md" && d.state === "ready"));
  const e = await erased(a, (await a.post("/api/erasures", { documents: [doc.id] })).id);
  assert.equal(e.certificate.certificate.verification.result, "nothing found");
  assert.equal(await encoderOf(a), before);
  const old = (await a.documents()).find((d) => d.path === "notes/n3.md");
  await erased(a, (await a.post("/api/erasures", { documents: [old.id] })).id);
  assert.notEqual(await encoderOf(a), before);
});

test("copies of the content are named, and erased or kept as wished", async () => {
  a.drop("copies/a.md", secret(3));
  a.drop("copies/b.md", secret(3));
  await until("both are ready", async () => (await a.documents()).filter((d) => d.path.startsWith("copies/") && d.state === "ready").length === 2);
  const refused = await a.request("/api/erasures", { method: "POST", body: { path: "copies/a.md" } });
  assert.equal(refused.status, 409);
  assert.match((await refused.json()).error.message, /copies\/b\.md/);
  const kept = await erased(a, (await a.post("/api/erasures", { path: "copies/a.md", copies: "keep" })).id);
  assert.match(kept.certificate.certificate.documents[0].content, /stays/);
  assert.ok((await a.search(`${marker}3ian`)).some((p) => p.document.path === "copies/b.md"));
  assert.ok(!existsSync(join(a.watch, "copies/a.md")));
  a.drop("copies/c.md", secret(3));
  await until("a copy is ready", async () => (await a.documents()).some((d) => d.path === "copies/c.md" && d.state === "ready"));
  const all = await erased(a, (await a.post("/api/erasures", { path: "copies/b.md", copies: "erase" })).id);
  assert.equal(all.certificate.certificate.documents.length, 2);
  assert.deepEqual(holding(a.home, forms(3)), []);
});

test("the command line: a folder, its certificate checked without the appliance, a hold that forbids it", async () => {
  a.drop("held/h.md", secret(5));
  a.drop("held/deep/i.md", secret(6));
  await until("both are ready", async () => (await a.documents()).filter((d) => d.path.startsWith("held/") && d.state === "ready").length === 2);
  const held = await cli(a, "hold", "add", "--path", "held/deep", "--reason", "case 12 of the court", "--json");
  assert.equal(held.code, 0, held.stderr);
  const refused = await cli(a, "erase", "--path", "held", "--yes");
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /legal hold .*case 12 of the court/);
  assert.match((await cli(a, "hold", "list")).stdout, /path held\/deep {2}\(case 12 of the court\)/);
  assert.equal((await cli(a, "hold", "remove", JSON.parse(held.stdout).id)).code, 0);
  assert.equal((await cli(a, "erase", "--path", "held")).code, 2, "nobody confirms");
  const done = await cli(a, "erase", "--path", "held", "--yes");
  assert.equal(done.code, 0, done.stderr);
  assert.deepEqual(holding(a.home, [...forms(5), ...forms(6)]), []);
  const file = join(dirname(a.home), "certificate.json");
  writeFileSync(file, done.stdout);
  const key = (await cli(a, "erase", "public-key")).stdout.trim();
  const offline = (...args) => spawnSync(join(binDir, "carrel"), ["erase", "verify", ...args, "--home", "/nonexistent"], { encoding: "utf8" });
  assert.match(offline(file, "--public-key", key).stdout, /the signature holds/);
  assert.equal(offline(file, "--public-key", key).status, 0);
  assert.equal(offline(file, "--public-key", "00".repeat(32)).status, 1);
  writeFileSync(file, done.stdout.replace("held/h.md", "held/x.md"));
  assert.match(offline(file, "--public-key", key).stdout, /does not hold/);
  assert.match((await cli(a, "erase", "list")).stdout, /done/);
});

test("another encoder and back again while searches run", async () => {
  const first = await encoderOf(a);
  // above the growth at which another fit is made, and below that of a third
  for (let i = 0; i < 70; i++) a.drop(`more/m${i}.md`, `# Entry ${i}\n\nThe orchard ${i} holds ${["pears", "plums", "figs"][i % 3]} picked by team ${i % 9} in ${["June", "July", "August"][i % 3]}.\n`);
  await until("a second fit", async () => (await encoderOf(a)) !== first, { every: 200 });
  await until("all have come", async () => (await a.documents()).filter((d) => d.path.startsWith("more/") && d.state === "ready").length === 70);
  await a.fitted(90);
  const second = await encoderOf(a);
  const states = async () => Object.fromEntries((await a.get("/api/encoders")).encoders.map((e) => [e.name, e.state]));
  assert.equal((await states())[first], "kept");
  let running = true;
  let n = 0;
  const searching = (async () => {
    while (running) {
      const r = await a.post("/api/search", { query: "plums of the orchard", mode: "dense" });
      assert.ok(r.passages.length > 0 && [first, second].includes(r.encoder), "no gap, no other encoder");
      n++;
    }
  })();
  assert.equal((await cli(a, "encoder", "rollback")).code, 0);
  await until("the first is back", async () => (await encoderOf(a)) === first);
  assert.equal((await states())[second], "kept");
  const back = await cli(a, "encoder", "promote", second);
  assert.match(back.stdout, /is published\n/);
  assert.equal(await encoderOf(a), second);
  running = false;
  await searching;
  assert.ok(n > 3);
  assert.match((await cli(a, "encoder", "list")).stdout, new RegExp(`kept +${first}`));
});

test("killed in the middle it goes on at the next start", async () => {
  a.drop("kill/k.md", secret(4));
  await until("it is ready", async () => (await a.documents()).some((d) => d.path === "kill/k.md" && d.state === "ready"));
  let id = (await a.post("/api/erasures", { path: "kill" })).id;
  for (const wait of [0, 150, 400]) {
    await new Promise((done) => setTimeout(done, wait));
    const { home } = a;
    await a.kill();
    a = await startAppliance({ home, config: null });
  }
  const e = await erased(a, id);
  assert.equal(e.certificate.certificate.verification.result, "nothing found");
  assert.deepEqual(holding(a.home, forms(4)), []);
  assert.ok(!existsSync(join(a.watch, "kill/k.md")));
});

test("a backup from before is put right before it is served", async () => {
  const there = (p) => until(`${p} is ready`, async () => (await a.documents()).some((d) => d.path === p && d.state === "ready"));
  const twice = "# Tides\n\nThe harbour master reads the tide gauge at noon.\n";
  a.drop("old/o.md", secret(7));
  a.drop("twice/one.md", twice);
  a.drop("twice/other.md", twice);
  a.drop("since/s.md", "# Since\n\nThe lighthouse keeper oils the lamp.\n");
  for (const p of ["old/o.md", "twice/one.md", "twice/other.md", "since/s.md"]) await there(p);
  const target = join(dirname(a.home), "backups");
  const taken = await cli(a, "backup", target);
  assert.equal(taken.code, 0, taken.stderr);
  const { id } = await a.post("/api/erasures", { path: "old" });
  await erased(a, id);
  const place = await a.post("/api/erasures", { path: "twice/one.md", copies: "keep" });
  await erased(a, place.id);
  a.drop("since/s.md", "# Since\n\nThe lighthouse keeper sold the lamp.\n");
  await until("it has changed", async () => (await a.search("lighthouse keeper sold")).some((p) => p.text.includes("sold the lamp")));
  const changed = await a.post("/api/erasures", { path: "since/s.md" });
  await erased(a, changed.id);
  const again = join(dirname(a.home), "again");
  const given = spawnSync(join(binDir, "carrel"), ["restore", target, "--into", again], { encoding: "utf8" });
  assert.equal(given.status, 0, given.stderr);
  assert.ok(holding(again, forms(7)).length > 0, "the backup has it");
  // the list of erasures is kept apart from what is backed up and restored
  rmSync(join(again, "system/erasures"), { recursive: true, force: true });
  mkdirSync(join(again, "system/erasures"), { recursive: true, mode: 0o700 });
  for (const name of readdirSync(join(a.home, "system/erasures"))) {
    writeFileSync(join(again, "system/erasures", name), readFileSync(join(a.home, "system/erasures", name)), { mode: 0o600 });
  }
  const b = await startAppliance({ home: again, config: null });
  try {
    assert.ok((await b.search("courier met behind the mill")).every((p) => !p.text.includes(`${marker}7`)));
    const e = await erased(b, id);
    assert.equal(e.certificate.certificate.verification.result, "nothing found");
    assert.deepEqual(holding(again, forms(7)), []);
    for (const more of [place, changed]) await erased(b, more.id);
    assert.ok(existsSync(join(b.watch, "twice/other.md")), "the copy that was to stay");
    for (const p of ["old/o.md", "twice/one.md", "since/s.md"]) assert.ok(!existsSync(join(b.watch, p)), p);
    const left = (await b.documents()).map((d) => d.path);
    assert.ok(left.includes("twice/other.md") && !left.includes("twice/one.md") && !left.includes("since/s.md"), String(left));
  } finally {
    await b.stop({ keep: true });
  }
});
