// A maildir in the watched folder: its messages are documents, new mail is found, a flag or a move between its folders
// is the same document and is not read again, and a server's own files are nobody's.
import assert from "node:assert/strict";
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { startAppliance, until } from "./appliance.mjs";

let a;
const at = (path) => join(a.home, "watch/main", path);
const mail = (subject, body, from = "ada@example.org") =>
  `From: ${from}\r\nTo: bob@example.org\r\nSubject: ${subject}\r\nDate: Tue, 04 Mar 2025 10:15:00 +0100\r\nMessage-ID: <${subject.replaceAll(" ", ".")}@example.org>\r\n` +
  `Content-Type: text/plain; charset=utf-8\r\n\r\n${body}\r\n`;
const folder = (path) => ["cur", "new", "tmp"].forEach((part) => mkdirSync(at(`${path}/${part}`), { recursive: true }));
/** As delivery does it: written in tmp, then moved. */
function deliver(box, name, text, to = "new") {
  writeFileSync(at(`${box}/tmp/${name}`), text);
  renameSync(at(`${box}/tmp/${name}`), at(`${box}/${to}/${name}`));
}
const paths = async () => (await a.documents()).map((d) => `${d.path} ${d.state}`).sort();
async function comesTo(list) {
  let now;
  const wanted = JSON.stringify([...list].sort());
  try {
    await until("documents", async () => JSON.stringify((now = await paths())) === wanted);
  } catch {
    assert.deepEqual(now, [...list].sort());
  }
}
const only = async (path) => (await a.documents()).find((d) => d.path === path);
before(async () => {
  a = await startAppliance();
});
after(async () => {
  await a?.stop();
});

test("messages are documents, whatever their names; tmp and a server's files are not", { timeout: 180_000 }, async () => {
  folder("post");
  writeFileSync(at("post/dovecot.index.cache"), "x");
  writeFileSync(at("post/dovecot-uidlist"), "3 V1 N2");
  writeFileSync(at("post/tmp/1699.unfinished"), "From: half");
  deliver("post", "1699.M1P2.host", mail("Heron count", "Forty herons stand in the reed bed."));
  writeFileSync(at("post/cur/1699.M3P4.host:2,S"), mail("Lamp oil", "The lighthouse burns whale oil no more."));
  await comesTo(["post/cur/1699.M3P4.host:2,S ready", "post/new/1699.M1P2.host ready"]);
  const [hit] = await a.search("herons reed bed");
  assert.equal(hit.document.path, "post/new/1699.M1P2.host");
  assert.match(hit.document.title, /Heron count/);
  const told = await a.get(`/api/documents/${hit.document.id}`);
  assert.match(JSON.stringify(told), /ada@example\.org/);
  assert.ok(JSON.stringify(told).includes(String(Date.parse("2025-03-04T09:15:00Z") / 1000)) || JSON.stringify(told).includes("2025-03-04"), JSON.stringify(told));
});

test("what is attached is found, and goes along when a flag changes", { timeout: 180_000 }, async () => {
  const name = "1702.M7P8.host:2,";
  writeFileSync(at(`post/tmp/${name}`), ["From: ada@example.org", "Subject: Plans", "MIME-Version: 1.0", 'Content-Type: multipart/mixed; boundary="b"', "", "--b", "Content-Type: text/plain", "", "The plans are attached.",
    "--b", 'Content-Type: text/markdown; name="plan.md"', 'Content-Disposition: attachment; filename="plan.md"', "", "# Plan", "", "The windmill turns at noon.", "--b--", ""].join("\r\n"));
  renameSync(at(`post/tmp/${name}`), at(`post/cur/${name}`));
  const found = () => a.search("windmill turns noon").then((hits) => hits.map((h) => h.document.path));
  await until("the attachment is found", async () => (await found()).includes(`post/cur/${name}/plan.md`));
  renameSync(at(`post/cur/${name}`), at(`post/cur/${name}S`));
  await until("it went along", async () => (await found()).join() === `post/cur/${name}S/plan.md`);
  rmSync(at(`post/cur/${name}S`));
  await until("it went with it", async () => !(await found()).some((p) => p.includes(name)));
});

test("a move to cur and a changed flag are the same document, not read again", { timeout: 180_000 }, async () => {
  const before = await only("post/new/1699.M1P2.host");
  renameSync(at("post/new/1699.M1P2.host"), at("post/cur/1699.M1P2.host:2,"));
  await comesTo(["post/cur/1699.M3P4.host:2,S ready", "post/cur/1699.M1P2.host:2, ready"]);
  renameSync(at("post/cur/1699.M1P2.host:2,"), at("post/cur/1699.M1P2.host:2,RS"));
  await comesTo(["post/cur/1699.M3P4.host:2,S ready", "post/cur/1699.M1P2.host:2,RS ready"]);
  const now = await only("post/cur/1699.M1P2.host:2,RS");
  assert.equal(now.id, before.id);
  assert.equal((await a.search("herons reed bed"))[0].document.path, "post/cur/1699.M1P2.host:2,RS");
});

test("mailboxes below it, made while it is followed", { timeout: 180_000 }, async () => {
  folder("post/.Sent");
  deliver("post/.Sent", "1700.M5P6.host:2,S", mail("Kiln", "The kiln fires at twelve hundred degrees."), "cur");
  mkdirSync(at("post/.git/cur"), { recursive: true });
  writeFileSync(at("post/.git/cur/x"), "no");
  await comesTo([
    "post/cur/1699.M3P4.host:2,S ready",
    "post/cur/1699.M1P2.host:2,RS ready",
    "post/.Sent/cur/1700.M5P6.host:2,S ready",
  ]);
  const before = await only("post/cur/1699.M3P4.host:2,S");
  renameSync(at("post/cur/1699.M3P4.host:2,S"), at("post/.Sent/cur/1699.M3P4.host:2,S"));
  rmSync(at("post/cur/1699.M1P2.host:2,RS"));
  await comesTo(["post/.Sent/cur/1699.M3P4.host:2,S ready", "post/.Sent/cur/1700.M5P6.host:2,S ready"]);
  assert.equal((await only("post/.Sent/cur/1699.M3P4.host:2,S")).id, before.id);
});

test("a rename while nothing runs is the same document", { timeout: 180_000 }, async () => {
  const before = await only("post/.Sent/cur/1700.M5P6.host:2,S");
  const home = a.home;
  await a.stop({ keep: true });
  renameSync(join(home, "watch/main/post/.Sent/cur/1700.M5P6.host:2,S"), join(home, "watch/main/post/.Sent/cur/1700.M5P6.host:2,FS"));
  a = await startAppliance({ home, config: null });
  await comesTo(["post/.Sent/cur/1699.M3P4.host:2,S ready", "post/.Sent/cur/1700.M5P6.host:2,FS ready"]);
  assert.equal((await only("post/.Sent/cur/1700.M5P6.host:2,FS")).id, before.id);
});

test("two hundred messages at once", { timeout: 180_000 }, async () => {
  folder("bulk");
  for (let i = 0; i < 200; i++) {
    writeFileSync(at(`bulk/cur/1701.M${i}.host:2,S`), mail(`Note ${i}`, `Item number ${i} of the long list is a brass key.`));
  }
  const progress = await until("all are ready", async () => {
    const p = await a.get("/api/progress");
    return p.ready >= 202 && p.queued === 0 && p;
  }, { timeout: 100_000, every: 250 });
  assert.equal(progress.failed, 0);
});
