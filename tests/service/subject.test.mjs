// Erasing everything that names a data subject: every format, version, file in the trash and answer, and nothing else.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFile, spawnSync } from "node:child_process";
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { binDir, holding, startAppliance, until } from "./appliance.mjs";
import { makePdf } from "./pdf.mjs";
import { makeDocx } from "./zip.mjs";

const config = "http:\n  requests_per_minute: 0\nencoder:\n  first_fit_chunks: 20\n  min_document_frequency: 1\n  dimensions: 8\n";
const identifiers = ["Zörvald Ümbrekson", "PT-884471/X"];
/** What of it could stand somewhere: as written, folded, in parts. */
const forms = ["Zörvald", "zörvald", "ZÖRVALD", "Zo\u0308rvald", "zorvald", "Ümbrekson", "ümbrekson", "umbrekson", "U\u0308mbrekson", "884471", "pt884471x"];

const cli = (a, args, input = "") => new Promise((done) => {
  const child = execFile(join(binDir, "carrel"), [...args, "--home", a.home], { encoding: "utf8", maxBuffer: 1 << 26 }, (e, stdout, stderr) => done({ code: e ? e.code : 0, stdout, stderr }));
  child.stdin.end(input);
});
const ready = (a, path) => until(`${path} is read`, async () => (await a.documents()).find((d) => d.path === path && d.state === "ready"));

let a;
before(async () => {
  a = await startAppliance({ config });
  for (let i = 0; i < 25; i++) a.drop(`notes/n${i}.md`, `# Note ${i}\n\nThe harbour keeps ${["boats", "ropes", "nets"][i % 3]} in shed ${i}, ${["painted", "tarred"][i % 2]} by crew ${i % 7}.\n`);
  a.drop("p/letter.docx", makeDocx([["Heading1", "Admission"], "The patient ZÖRVALD ÜMBREKSON came in the night."]));
  a.drop("p/report.pdf", makePdf([["Findings of the morning round", "were discussed with Zörvald Ümbrek-", "son and the family."]]));
  a.drop("p/page.html", "<html><body><h1>Ward</h1><p>Room 4: <b>Z&ouml;rvald</b>\n&nbsp;<i>Ümbrekson</i>, since May.</p></body></html>");
  a.drop("p/comment.html", "<html><body><!-- ask Zörvald Ümbrekson --><p>The ward has forty beds.</p></body></html>");
  a.drop("p/note.md", "# Rounds\n\nZo\u0308rvald U\u0308mbrekson sleeps better.\n");
  a.drop("p/list.txt", "Open accounts\n\npt 884471 x owes nothing.\n");
  a.drop("p/changed.md", "# Plan\n\nZörvald Ümbrekson goes home on Friday.\n");
  a.drop("p/gone.md", "# Visit\n\nThe sister of Zörvald Ümbrekson called.\n");
  a.drop("hr/zorvald_umbrekson.md", "# Contract\n\nThe gardener is paid by the hour.\n");
  a.drop("broken.pdf", "%PDF-1.4 and nothing else");
  await a.settled({ n: 35 });
  a.drop("p/changed.md", "# Plan\n\nThe patient goes home on Friday.\n");
  await until("the change is stored", async () => (await a.search("goes home Friday")).some((p) => p.text.includes("The patient goes")));
  const gone = (await a.documents()).find((d) => d.path === "p/gone.md");
  assert.ok((await a.request(`/api/documents/${gone.id}`, { method: "DELETE" })).ok);
  await until("it is in the trash", async () => !(await a.documents()).some((d) => d.path === "p/gone.md"));
});
after(async () => a?.stop());

const expected = ["hr/zorvald_umbrekson.md", "p/changed.md", "p/comment.html", "p/gone.md", "p/letter.docx", "p/list.txt", "p/note.md", "p/page.html", "p/report.pdf"];
let target;

test("the preview names every document, and changes nothing", async () => {
  await a.post("/v1/chat/completions", { model: "carrel", messages: [{ role: "user", content: "Which boats did Zörvald Ümbrekson paint in shed 3 of the harbour?" }] });
  const seen = await a.post("/api/erasures", { subject: identifiers, dry_run: true });
  assert.equal(seen.id, null);
  assert.deepEqual(seen.documents.map((d) => d.path).sort(), expected);
  const by = Object.fromEntries(seen.documents.map((d) => [d.path, d]));
  assert.ok(by["p/changed.md"].only_before && by["p/gone.md"].only_before);
  assert.ok(by["hr/zorvald_umbrekson.md"].in_name && by["hr/zorvald_umbrekson.md"].passages === 0);
  assert.ok(by["p/letter.docx"].passages >= 1);
  assert.ok(seen.answers >= 1, "the answer to the question that names it");
  assert.deepEqual(seen.unsearched.map((u) => u.path), ["broken.pdf"], "what could not be read is told");
  const shown = await cli(a, ["erase", "--subject", identifiers[0], "--dry-run"]);
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /p\/letter\.docx {2}\(1 passage\)/);
  assert.match(shown.stdout, /erased whole, also where others are named/);
  assert.match(shown.stdout, /Not searched[^]*broken\.pdf/);
  assert.equal((await cli(a, ["erase", "--subject", identifiers[0]])).code, 2, "nobody confirms");
  assert.equal((await cli(a, ["erase", "--subject", "Nobody Everheard", "--dry-run"])).code, 4);
  assert.equal((await cli(a, ["erase", "--subject", "Li", "--dry-run"])).code, 1, "that would stand in too much");
  assert.ok(existsSync(join(a.watch, "p/letter.docx")));
});

test("refused under a legal hold, naming it; and when the list has changed since it was shown", async () => {
  const held = await cli(a, ["hold", "add", "--path", "p/list.txt", "--reason", "audit 7", "--json"]);
  assert.equal(held.code, 0, held.stderr);
  const refused = await cli(a, ["erase", "--subject", identifiers[1], "--yes"]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /legal hold .*audit 7/);
  assert.equal((await cli(a, ["hold", "remove", JSON.parse(held.stdout).id])).code, 0);
  const list = (await a.post("/api/erasures", { subject: identifiers, dry_run: true })).documents.map((d) => d.id);
  const r = await a.request("/api/erasures", { method: "POST", body: { subject: identifiers, documents: list.slice(1) } });
  assert.equal(r.status, 409);
});

test("then nothing names it in any file, and the certificate does not either", async () => {
  target = join(dirname(a.home), "backups");
  const taken = await cli(a, ["backup", target]);
  assert.equal(taken.code, 0, taken.stderr);
  assert.ok(holding(a.home, forms).length > 5, "before, it stands in the files");
  const done = await cli(a, ["erase", "--subject-file", "-", "--yes"], `${identifiers.join("\n")}\n\n`);
  assert.equal(done.code, 0, done.stderr);
  assert.deepEqual(holding(a.home, forms), []);
  for (const path of expected) assert.ok(!existsSync(join(a.watch, path)), path);
  const whole = JSON.parse(done.stdout);
  const c = whole.certificate;
  assert.equal(c.documents.length, expected.length);
  assert.equal(c.subject.identifiers_keyed.length, 2);
  assert.equal(c.subject.named_in_the_end_by, 0);
  assert.equal(c.verification.result, "nothing found");
  assert.ok(c.documents.some((d) => d.path === "hr/[...].md"));
  assert.ok(c.removed.answers >= 1 && c.removed["files in the trash"] >= 1);
  for (const f of forms) {
    assert.ok(!done.stdout.includes(f), `the certificate: ${f}`);
    assert.ok(!a.output.includes(f), `the services' lines: ${f}`);
  }
  assert.ok((await a.search("boats painted shed")).length > 0, "the others are still found");
  const list = await a.documents();
  assert.equal(list.filter((d) => d.state === "ready").length, 25);
  const again = await a.post("/api/erasures", { subject: identifiers, dry_run: true });
  assert.deepEqual([again.documents, again.answers], [[], 0]);
  const file = join(dirname(a.home), "c.json");
  writeFileSync(file, done.stdout);
  const key = (await cli(a, ["erase", "public-key"])).stdout.trim();
  const check = spawnSync(join(binDir, "carrel"), ["erase", "verify", file, "--public-key", key, "--home", "/nonexistent"], { encoding: "utf8" });
  assert.equal(check.status, 0, check.stdout);
});

test("a backup from before is put right: documents and answers that name it go again", async () => {
  const home = join(dirname(a.home), "again");
  const given = spawnSync(join(binDir, "carrel"), ["restore", target, "--into", home], { encoding: "utf8" });
  assert.equal(given.status, 0, given.stderr);
  assert.ok(holding(home, forms).length > 0, "the backup has it");
  cpSync(join(a.home, "system/erasures"), join(home, "system/erasures"), { recursive: true, force: true });
  const b = await startAppliance({ home, config: null });
  try {
    await until("the erasure is done again", async () => {
      const list = (await b.get("/api/erasures").catch(() => ({ erasures: [] }))).erasures;
      return list.length === 1 && list[0].state === "done";
    });
    assert.deepEqual(holding(home, forms), []);
  } finally {
    await b.stop({ keep: true });
  }
});

test("what is excepted stays, and the certificate says so", async () => {
  a.drop("q/one.md", "# One\n\nQuillhampton Vexley signed the lease.\n");
  a.drop("q/two.md", "# Two\n\nQuillhampton Vexley is the author of this manual.\n");
  await ready(a, "q/one.md");
  const { id } = await ready(a, "q/two.md");
  const wrong = await cli(a, ["erase", "--subject", "Quillhampton Vexley", "--except", "01234567890123456789abcdef", "--yes"]);
  assert.equal(wrong.code, 1, wrong.stderr);
  const done = await cli(a, ["erase", "--subject", "quillhampton vexley", "--except", id, "--yes"]);
  assert.equal(done.code, 0, done.stderr);
  const c = JSON.parse(done.stdout).certificate;
  assert.deepEqual(c.documents.map((d) => d.path), ["q/one.md"]);
  assert.deepEqual(c.subject.kept_as_asked, [{ id, path: "q/two.md" }]);
  assert.equal(c.subject.named_in_the_end_by, 0);
  assert.ok((await a.search("author of this manual")).some((p) => p.text.includes("Quillhampton")));
  assert.ok(!existsSync(join(a.watch, "q/one.md")) && existsSync(join(a.watch, "q/two.md")));
});

test("what lies in the trash goes from there; other files that lie at its path by now stay, and are documents", async () => {
  const who = "Tessaly Orrinwood";
  const day = (n) => new Date(Date.now() - n * 86_400_000).toISOString().slice(0, 10);
  const trash = (n, path, text) => {
    const at = join(a.home, "trash/main", day(n), path);
    const { uid, gid } = statSync(join(a.home, "trash/main"));
    mkdirSync(dirname(at), { recursive: true });
    writeFileSync(at, text);
    for (const made of [dirname(dirname(at)), dirname(at), at]) chownSync(made, uid, gid);
    return at;
  };
  a.drop("s/left.md", `# Left\n\n${who} left in spring.\n`);
  const { id } = await ready(a, "s/left.md");
  assert.ok((await a.request(`/api/documents/${id}`, { method: "DELETE" })).ok);
  await until("it is in the trash", async () => !(await a.documents()).some((d) => d.path === "s/left.md"));
  a.drop("s/left.md", "# Left luggage\n\nThe cloakroom numbers every suitcase.\n");
  a.drop("s/loose.md", "# Loose\n\nThe carpenter counts the planks.\n");
  const copy = "# Copy\n\nThe beekeeper boils the frames.\n";
  a.drop("s/copy.md", copy);
  for (const p of ["s/left.md", "s/loose.md", "s/copy.md"]) await ready(a, p);
  const goes = [trash(0, "s/loose.md", `Asked ${who} about the planks.\n`), trash(1, "s/loose.md", `Paid ${who} for the planks.\n`), trash(0, "s/tessaly_orrinwood.md", copy)];
  const stays = trash(2, "s/loose.md", "Nobody was asked about the planks.\n");

  const seen = await a.post("/api/erasures", { subject: who, dry_run: true });
  assert.deepEqual(seen.documents.map((d) => [d.path, d.in_trash]).sort(), [["s/left.md", false], ["s/loose.md", true], ["s/loose.md", true], ["s/tessaly_orrinwood.md", true]]);
  const unseen = await a.request("/api/erasures", { method: "POST", body: { subject: who, documents: [] } });
  assert.equal(unseen.status, 409, "that nothing was shown is a list too");

  const done = await cli(a, ["erase", "--subject", who, "--yes"]);
  assert.equal(done.code, 0, done.stderr);
  for (const f of goes) assert.ok(!existsSync(f), f);
  assert.ok(existsSync(stays), "it names nobody");
  for (const p of ["s/left.md", "s/loose.md", "s/copy.md"]) {
    assert.ok(existsSync(join(a.watch, p)), p);
    await ready(a, p);
  }
  for (const q of ["cloakroom", "carpenter", "beekeeper"]) assert.ok((await a.search(q)).some((p) => p.text.includes(q)), q);
  const c = JSON.parse(done.stdout).certificate;
  const by = Object.fromEntries(c.documents.map((d) => [d.path, d]));
  assert.match(by["s/left.md"].source, /another file lies there now/);
  assert.match(by["s/loose.md"].source, /in the trash/);
  assert.match(by["s/[...].md"].content, /^stays/);
  assert.equal(c.verification.result, "nothing found");
  const again = "# Copy, moved\n\nThe beekeeper boils the frames twice.\n";
  a.drop("s/copy.md", again);
  await until("it may be changed", async () => (await a.search("beekeeper frames twice")).some((p) => p.text.includes("twice")));
  a.drop("s/copy2.md", copy);
  await ready(a, "s/copy2.md");
});

test("a folder named after it: no figure of an evaluation, no error and no line tells the name", async () => {
  const who = "Perdita Kelmscott";
  const told = ["Perdita", "perdita", "Kelmscott", "kelmscott"];
  for (let i = 0; i < 6; i++) a.drop(`perdita-kelmscott/r${i}.md`, `# Rules for shed ${i}\n\n## Painting shed ${i} in advance\n\nA painter means the person who paints shed ${i} of the harbour. Requests are answered within ${i + 2} working days.\n`);
  for (let i = 0; i < 6; i++) await ready(a, `perdita-kelmscott/r${i}.md`);
  await a.post("/api/eval", { configurations: [{ mode: "bm25" }] });
  const measured = await until("the evaluation to end", async () => {
    const s = await a.get("/api/eval");
    return !s.running && s;
  });
  assert.ok(measured.runs[0].collections.some((c) => c.collection === "perdita-kelmscott"), JSON.stringify(measured));
  const folder = join(a.home, "trash/main", new Date().toISOString().slice(0, 10), "perdita-kelmscott");
  const { uid, gid } = statSync(join(a.home, "trash/main"));
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "old.txt"), "Nothing but a name of a folder.");
  for (const made of [dirname(folder), folder, join(folder, "old.txt")]) chownSync(made, uid, gid);
  chmodSync(folder, 0o500); // so nothing may be deleted in it

  const { id } = await a.post("/api/erasures", { subject: who });
  const held = await until("it is held up", async () => {
    const e = await a.get(`/api/erasures/${id}`);
    return e.error && e;
  });
  assert.match(held.error, /\[\.\.\.\]\/old\.txt: Permission denied/);
  for (const t of told) assert.ok(!a.output.includes(t) && !held.error.includes(t), t);
  chmodSync(folder, 0o700);
  const done = await until("it is done", async () => {
    const e = await a.get(`/api/erasures/${id}`);
    return e.state === "done" && e;
  });
  for (const t of told) assert.ok(!JSON.stringify(done).includes(t) && !a.output.includes(t), t);
  rmSync(folder, { recursive: true });
  rmSync(join(a.watch, "perdita-kelmscott"), { recursive: true });
  assert.deepEqual(holding(a.home, told), []);
  const left = await a.get("/api/eval");
  assert.equal(left.runs.length, measured.runs.length);
  assert.deepEqual(left.runs[0].all, measured.runs[0].all);
});

test("ingest is killed in the middle of it, again and again: it goes on, and what it is about is not lost", async () => {
  const who = ["Ottoline Brackwater", "KV-5571190"];
  const told = ["Ottoline", "ottoline", "Brackwater", "brackwater", "5571190"];
  for (let i = 0; i < 4; i++) a.drop(`k/r${i}.md`, `# Round ${i}\n\nOttoline Brackwater walked ${i} miles.\n`);
  a.drop("k/account.md", "# Account\n\nNumber kv 5571190 is in order.\n");
  a.drop("k/ottoline_brackwater.md", "# Walks\n\nThe path along the dyke is closed.\n");
  for (const p of ["k/r0.md", "k/r1.md", "k/r2.md", "k/r3.md", "k/account.md", "k/ottoline_brackwater.md"]) await ready(a, p);
  const before = (await a.documents()).filter((d) => d.state === "ready").length;
  const ingest = async () => {
    const shown = await cli(a, ["status", "--json"]);
    const s = shown.stdout.startsWith("{") && JSON.parse(shown.stdout).services?.find((x) => x.name === "ingest");
    return s && s.state === "ready" && s.pid;
  };
  const steps = new Set();
  const state = () => a.get("/api/erasures").then((r) => r.erasures[0]).catch(() => null);
  let pid = await until("ingest is there", ingest);
  const { id } = await a.post("/api/erasures", { subject: who });
  for (let kill = 0; kill < 4; kill++) {
    process.kill(pid, "SIGKILL");
    const last = pid;
    pid = await until("ingest is there again", async () => {
      const p = await ingest();
      return p && p !== last && p;
    });
    const e = await until("it tells how far it is", async () => {
      const now = await state();
      return now && now.id === id && now;
    });
    steps.add(e.step);
    if (e.state === "done") break;
  }
  const done = await until("it is done", async () => {
    const e = await a.get(`/api/erasures/${id}`).catch(() => null);
    return e && e.state === "done" && e;
  });
  const c = done.certificate.certificate;
  assert.equal(c.verification.result, "nothing found", [...steps].join(", "));
  assert.equal(c.documents.length, 6);
  assert.equal(c.subject.identifiers_keyed.length, 2);
  assert.equal(c.subject.named_in_the_end_by, 0);
  assert.ok(c.documents.some((d) => d.path === "k/[...].md"));
  assert.ok(c.documents.every((d) => d.source === "deleted" || d.source === "was not there"));
  for (const t of told) assert.ok(!JSON.stringify(done).includes(t) && !a.output.includes(t), t);
  assert.deepEqual(holding(a.home, told), []);
  assert.equal((await a.documents()).filter((d) => d.state === "ready").length, before - 6);
});

test("a mail that names it goes with what is attached to it, which is shown before, and held stops the whole", async () => {
  const who = "Philippa Dunmorrow";
  const body = Buffer.from("The tide table of the north pier.\n").toString("base64");
  a.drop("m/x.eml", `From: ana@example.org\r\nSubject: Tides\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n${who} asked for it.\r\n` +
    `--b\r\nContent-Type: text/plain; name="tides.txt"\r\nContent-Disposition: attachment; filename="tides.txt"\r\nContent-Transfer-Encoding: base64\r\n\r\n${body}--b--\r\n`);
  const within = ["m/x.eml", "m/x.eml/tides.txt"];
  const { id } = await ready(a, within[0]);
  const inner = await ready(a, within[1]);
  const seen = await a.post("/api/erasures", { subject: [who], dry_run: true });
  assert.deepEqual(seen.documents.map((d) => d.path).sort(), within);
  const held = await cli(a, ["hold", "add", "--path", within[1], "--reason", "audit 9", "--json"]);
  assert.equal(held.code, 0, held.stderr);
  const refused = await cli(a, ["erase", "--subject", who, "--yes"]);
  assert.equal(refused.code, 1, refused.stdout);
  assert.match(refused.stderr, /legal hold .*audit 9/);
  assert.ok(existsSync(join(a.watch, within[0])));
  assert.equal((await cli(a, ["hold", "remove", JSON.parse(held.stdout).id])).code, 0);
  const stays = await cli(a, ["erase", "--subject", who, "--except", inner.id, "--yes"]);
  assert.equal(stays.code, 1, stays.stdout);
  const done = await cli(a, ["erase", "--subject", who, "--yes"]);
  assert.equal(done.code, 0, done.stderr);
  const c = JSON.parse(done.stdout).certificate;
  assert.deepEqual(c.documents.map((d) => d.path ?? "").length, 2, JSON.stringify(c.documents));
  assert.ok(!existsSync(join(a.watch, within[0])));
  assert.ok(!(await a.documents()).some((d) => d.id === id || d.id === inner.id));
  assert.deepEqual(await a.search("tide table north pier").then((l) => l.filter((p) => p.document.path.includes("tides"))), []);
});

test("an account of the subject: said before and at the beginning, taken by removing the user, out of every file", async () => {
  const name = "Quillon Marsbeck";
  const password = "quiet river stones";
  const user = await a.post("/api/users", { name, role: "reader", password, must_change_password: false });
  const key = await a.post("/api/keys", { name: "marsbeck quillon's script", owner: user.id });
  const accounts = [{ kind: "user", id: user.id, name }, { kind: "key", id: key.id, name: key.name }];
  const plan = (dry_run) => a.request("/api/erasures", { method: "POST", body: { subject: [name, "marsbeck quillon"], dry_run } });
  const alone = await (await plan(true)).json();
  assert.deepEqual([alone.documents, alone.accounts], [[], accounts]);
  a.drop("notes/quillon.md", `# Rota\n\n${name} has the night watch.\n`);
  await ready(a, "notes/quillon.md");
  const seen = await (await plan(true)).json();
  assert.deepEqual([seen.documents.map((d) => d.path), seen.accounts], [["notes/quillon.md"], accounts]);
  const shown = await cli(a, ["erase", "--subject", name, "--dry-run"]);
  assert.match(shown.stdout, new RegExp(`User ${user.id} \\(${name}\\) has an account here, which stays: .carrel user remove`));
  const signed = await a.request("/api/session", { method: "POST", key: null, body: { name, password } });
  const cookie = signed.headers.get("set-cookie").split(";")[0];
  const session = async () => (await a.request("/api/session", { key: null, headers: { cookie } })).status;
  const csrf = (await signed.json()).csrf;
  const asked = await a.request("/v1/chat/completions", { method: "POST", key: null, headers: { cookie, "x-csrf-token": csrf }, body: { model: "carrel", conversation: "new", messages: [{ role: "user", content: "Which boats are in shed 3?" }] } });
  assert.ok(asked.ok, await asked.clone().text());
  const kept = (await asked.json()).carrel.conversation;
  const begun = await plan(false);
  assert.equal(begun.status, 202);
  const { id, accounts: said } = await begun.json();
  assert.deepEqual(said, accounts);
  await until("it is done", async () => (await a.get(`/api/erasures/${id}`)).state === "done");
  assert.equal(await session(), 200, "the account stays until it is removed");
  assert.notDeepEqual(holding(join(a.home, "system"), [name]), []);
  assert.equal((await a.request(`/api/users/${user.id}`, { method: "DELETE" })).status, 200);
  assert.equal((await (await a.request(`/api/users/${user.id}/conversations`, { method: "DELETE" })).json()).deleted, 1, kept);
  assert.deepEqual([await session(), (await a.request("/api/session", { key: key.key })).status], [401, 401]);
  assert.deepEqual(holding(join(a.home, "system"), [name, key.name]), []);
  assert.equal((await (await a.request("/api/session", { method: "POST", key: null, body: { name, password } })).json()).error.code, "wrong_password");
});
