// What documents say of themselves: in the list, as filters, typed and counted; and whom it does not reach.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { utimesSync, writeFileSync, renameSync } from "node:fs";
import { after, before, test } from "node:test";
import { join } from "node:path";
import { promisify } from "node:util";
import { binDir, startAppliance, until } from "./appliance.mjs";
import { docxRels, docxTypes, makeZip } from "./zip.mjs";

const exec = promisify(execFile);
let a, reader;
const carrel = async (...args) => (await exec(join(binDir, "carrel"), [...args, "--home", a.home])).stdout.trim();
const paths = (list) => list.map((p) => p.document.path).sort();
const doc = async (path) => (await a.documents()).find((d) => d.path === path);

const W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";
const docx = (title, author, modified, text) => makeZip([
  ["[Content_Types].xml", docxTypes], ["_rels/.rels", docxRels],
  ["docProps/core.xml", `<cp:coreProperties xmlns:cp="c" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:t="t"><dc:title>${title}</dc:title><dc:creator>${author}</dc:creator><t:created>2006-09-16T00:00:00Z</t:created><t:modified>${modified}</t:modified></cp:coreProperties>`],
  ["docProps/app.xml", "<Properties><Pages>12</Pages></Properties>"],
  ["word/document.xml", `<w:document xmlns:w="${W}"><w:body><w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Mooring rules</w:t></w:r></w:p><w:p><w:r><w:t>${text}</w:t></w:r></w:p></w:body></w:document>`],
]);
const HARBOUR = "The heron at the harbour of the old town is the one that the people of the village have known for years, and it is fed in the evening.";

before(async () => {
  a = await startAppliance();
  writeFileSync(join(a.home, ".tmp"), "access:\n  - path: board/**\n    readers: [board]\n  - path: ruled/**\n    date: 2001-02-03\n");
  renameSync(join(a.home, ".tmp"), join(a.home, "access.yaml"));
  reader = await carrel("key", "create", "reader");
  a.drop("rules.docx", docx("Microsoft Word - Document1", "Anna Berg;Windows User", "2019-05-31T10:00:00Z", HARBOUR));
  a.drop("ruled/rules.docx", docx("Mooring by night", "Carl Dahl", "2019-05-31T10:00:00Z", HARBOUR + " By night."));
  a.drop("mail.eml", `From: =?utf-8?q?J=C3=BCrgen_Dahl?= <j@example.org>\r\nDate: Sat, 2 Mar 2013 09:00:00 +0100\r\nSubject: Heron\r\n\r\n${HARBOUR} Greetings.\r\n`);
  a.drop("brief.md", "---\nauthor: Anna Berg\ndate: 2099-01-01\nlang: en\n---\n\nDer Reiher am Hafen ist der, den die Leute im Dorf seit Jahren kennen, und er wird am Abend von den Kindern gefüttert. Wer ihn sehen will, kommt vor dem Essen und bleibt, bis es dunkel wird. Heron harbour.\n");
  a.drop("plain.txt", HARBOUR + " Plain.\n");
  a.drop("board/plan.md", `---\nauthor: Quentin Secretive\n---\n\n# Plan\n\n${HARBOUR} The plan of the board.\n`);
  utimesSync(join(a.watch, "plain.txt"), new Date("2011-11-11T11:11:11Z"), new Date("2011-11-11T11:11:11Z"));
  await a.settled({ n: 6 });
  await until("the file's own time is known", async () => (await doc("plain.txt")).date === "2011-11-11");
});
after(async () => a?.stop());

test("the list tells title, author, date, language, pages and hash", { timeout: 180_000 }, async () => {
  const pick = ({ title, author, date, language, pages }) => ({ title, author, date, language, pages: pages ?? 0 });
  assert.deepEqual(pick(await doc("rules.docx")), { title: "Mooring rules", author: "Anna Berg", date: "2019-05-31", language: "en", pages: 12 });
  assert.deepEqual(pick(await doc("ruled/rules.docx")), { title: "Mooring by night", author: "Carl Dahl", date: "2001-02-03", language: "en", pages: 12 });
  assert.deepEqual(pick(await doc("mail.eml")), { title: "Heron", author: "Jürgen Dahl", date: "2013-03-02", language: "en", pages: 0 });
  assert.equal((await doc("brief.md")).language, "de", "detected, whatever the head says");
  assert.notEqual((await doc("brief.md")).date, "2099-01-01", "no date of the far future");
  assert.deepEqual(pick(await doc("plain.txt")), { title: "plain.txt", author: "", date: "2011-11-11", language: "en", pages: 0 });
  const one = await doc("rules.docx");
  assert.match(one.hash, /^[0-9a-f]{64}$/);
  const r = await a.request(`/api/documents/${one.id}`, { key: reader });
  const seen = await r.json();
  assert.deepEqual([seen.author, seen.date, seen.hash, seen.document_modified, seen.document_created], ["Anna Berg", "2019-05-31", one.hash, "2019-05-31", undefined]);
  const shown = await carrel("docs");
  assert.match(shown, /2019-05-31\s+en\s+Anna Berg\s+rules\.docx {2}Mooring rules/);
});

test("a copy has what its original has, though it is not read again", { timeout: 180_000 }, async () => {
  a.drop("copy/rules.docx", docx("Microsoft Word - Document1", "Anna Berg;Windows User", "2019-05-31T10:00:00Z", HARBOUR));
  await a.settled({ n: 7 });
  const { title, author, date, pages, language } = await doc("copy/rules.docx");
  assert.deepEqual([title, author, date, pages, language], ["Mooring rules", "Anna Berg", "2019-05-31", 12, "en"]);
  await a.request(`/api/documents/${(await doc("copy/rules.docx")).id}`, { method: "DELETE" });
});

test("filters and typed fields narrow by them", { timeout: 180_000 }, async () => {
  const hash = (await doc("mail.eml")).hash;
  const by = async (filter, query = "heron harbour") => paths(await a.search(query, { fold: false, ...filter })).filter((p) => !p.startsWith("copy/"));
  assert.deepEqual(await by({ authors: ["berg"] }), ["brief.md", "rules.docx"]);
  assert.deepEqual(await by({ authors: ["Jurgen Dahl"] }), ["mail.eml"], "accents aside");
  assert.deepEqual(await by({ authors: ["dahl"], until: "2005-01-01" }), ["ruled/rules.docx"]);
  assert.deepEqual(await by({ pages_from: 12, pages_to: 12 }), ["ruled/rules.docx", "rules.docx"]);
  assert.deepEqual(await by({ hashes: [hash.slice(0, 12)] }), ["mail.eml"]);
  assert.deepEqual(await by({ languages: ["de"] }), ["brief.md"]);
  assert.deepEqual(await by({ from: "2013-03-02", until: "2013-03-02" }), ["mail.eml"]);
  assert.deepEqual(await by({}, 'heron harbour author:"Jürgen Dahl"'), ["mail.eml"]);
  assert.deepEqual(await by({}, "heron harbour pages:10+ author:carl"), ["ruled/rules.docx"]);
  assert.deepEqual(await by({}, `heron harbour hash:${hash}`), ["mail.eml"]);
  assert.deepEqual(await by({ authors: ["Carl Dahl"] }, "heron harbour author:berg"), []);
  const p = (await a.search("heron harbour", { authors: ["jürgen"] }))[0];
  assert.deepEqual([p.document.author, p.document.date, p.document.language, p.document.title], ["Jürgen Dahl", "2013-03-02", "en", "Heron"]);
  const bad = await a.request("/api/search", { method: "POST", body: { query: "x", hashes: ["xyz"] } });
  assert.equal(bad.status, 400);
  assert.match(await carrel("search", "heron harbour", "--author", "Carl Dahl"), /ruled\/rules\.docx/);
  const list = (await a.get("/api/documents?author=berg")).documents.map((d) => d.path).filter((x) => !x.startsWith("copy/")).sort();
  assert.deepEqual(list, ["brief.md", "rules.docx"]);
});

test("authors are counted for those who may read them, and nobody else learns a name", { timeout: 180_000 }, async () => {
  const as = async (path, body) => (await a.request(path, { key: reader, method: body ? "POST" : "GET", body })).json();
  const names = (await as("/api/facets")).authors.map((f) => f.value).sort();
  assert.deepEqual(names, ["Anna Berg", "Carl Dahl", "Jürgen Dahl"]);
  assert.equal((await as("/api/facets?author=secretive")).documents, 0);
  assert.deepEqual((await as("/api/search", { query: "heron harbour", authors: ["Secretive"] })).passages, []);
  assert.deepEqual((await as("/api/documents?author=secretive")).documents, []);
});
