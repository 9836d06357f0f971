// Office files through the running services: a workbook, slides, an OpenDocument text and a book, each found at its place.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { binDir, startAppliance } from "./appliance.mjs";
import { makeZip } from "./zip.mjs";

const office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
const rels = (...list) => `<Relationships>${list.map(([id, type, target]) => `<Relationship Id="${id}" Type="${office}/${type}" Target="${target}"/>`).join("")}</Relationships>`;

const workbook = makeZip([
  ["_rels/.rels", rels(["r1", "officeDocument", "xl/workbook.xml"])],
  ["xl/workbook.xml", `<workbook xmlns:r="${office}"><sheets><sheet name="Empty" r:id="r1"/><sheet name="Ferries" r:id="r2"/></sheets></workbook>`],
  ["xl/_rels/workbook.xml.rels", rels(["r1", "worksheet", "a.xml"], ["r2", "worksheet", "b.xml"])],
  ["xl/a.xml", "<worksheet><sheetData/></worksheet>"],
  ["xl/b.xml", '<worksheet><sheetData><row><c t="inlineStr"><is><t>Ferry</t></is></c><c t="inlineStr"><is><t>Passengers</t></is></c></row><row><c t="inlineStr"><is><t>Zandvoort</t></is></c><c><v>417</v></c></row></sheetData></worksheet>'],
]);
const drawing = "http://schemas.openxmlformats.org/drawingml/2006/main";
const slides = makeZip([
  ["_rels/.rels", rels(["r1", "officeDocument", "ppt/presentation.xml"])],
  ["ppt/presentation.xml", `<presentation xmlns:r="${office}"><sldIdLst><sldId r:id="r1"/></sldIdLst></presentation>`],
  ["ppt/_rels/presentation.xml.rels", rels(["r1", "slide", "s.xml"])],
  ["ppt/s.xml", `<sld xmlns:a="${drawing}"><sp><ph type="title"/><a:p><a:t>Harbour plan</a:t></a:p></sp><sp><a:p><a:t>The crane of Purmerend is painted green.</a:t></a:p></sp></sld>`],
  ["ppt/_rels/s.xml.rels", rels(["r1", "notesSlide", "n.xml"])],
  ["ppt/n.xml", `<notes xmlns:a="${drawing}"><sp><ph type="body"/><a:p><a:t>Thank the welder Ottoline first.</a:t></a:p></sp></notes>`],
]);
const ns = (...names) => names.map((n) => `xmlns:${n}="urn:oasis:names:tc:opendocument:xmlns:${n}:1.0"`).join(" ");
const text = makeZip([
  ["mimetype", "application/vnd.oasis.opendocument.text"],
  ["content.xml", `<office:document-content ${ns("office", "text")}><office:body><office:text><text:h text:outline-level="1">Bridges</text:h><text:p>The bridge of Enkhuizen opens at noon.</text:p></office:text></office:body></office:document-content>`],
]);
const book = makeZip([
  ["META-INF/container.xml", '<container><rootfiles><rootfile full-path="b.opf"/></rootfiles></container>'],
  ["b.opf", '<package xmlns:dc="d"><metadata><dc:title>Tides</dc:title></metadata><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>'],
  ["a.xhtml", "<html><body><h1>Low water</h1><p>At Medemblik the tide is late.</p></body></html>"],
]);

let a;
before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\n" });
});
after(async () => a?.stop());

test("each is found, with page and heading, at its place in the text", async () => {
  a.drop("ferries.xlsx", workbook);
  a.drop("harbour.pptx", slides);
  a.drop("bridges.odt", text);
  a.drop("tides.epub", book);
  await a.settled({ n: 4 });
  const cases = [
    ["passengers of the Zandvoort ferry", "ferries.xlsx", /Zandvoort \| 417/, 2, /Ferries/, "sheet Ferries"],
    ["crane of Purmerend", "harbour.pptx", /painted green/, 1, /Harbour plan/, "slide 1"],
    ["welder Ottoline", "harbour.pptx", /Ottoline/, 1, null, "slide 1"],
    ["bridge of Enkhuizen", "bridges.odt", /opens at noon/, null, /Bridges/],
    ["tide at Medemblik", "tides.epub", /tide is late/, null, /Low water/],
  ];
  for (const [q, path, words, page, heading, unit] of cases) {
    const p = (await a.search(q)).find((x) => x.document.path === path);
    assert.ok(p, `${path} is found by ${q}`);
    assert.match(p.text, words);
    if (page) assert.equal(p.page, page);
    if (heading) assert.match(p.heading_path, heading);
    assert.equal(p.unit, unit);
    const whole = await a.get(`/api/documents/${p.document.id}/text`);
    assert.equal([...whole.text].slice(p.start, p.end).join(""), p.text, `${path}: the text stands at its range`);
  }
});

test("the original comes back with its own type", async () => {
  const d = (await a.documents()).find((x) => x.path === "ferries.xlsx");
  const r = await a.request(`/api/documents/${d.id}/original`);
  assert.equal(r.headers.get("content-type"), "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet");
  assert.deepEqual(Buffer.from(await r.arrayBuffer()), workbook);
});

test("files of Word, Excel, PowerPoint of 1997 to 2003 and of Outlook, also under a wrong name", async () => {
  const dir = mkdtempSync(join(tmpdir(), "carrel-samples-"));
  execFileSync(join(binDir, "../tests/write-samples"), [dir]);
  a.drop("old/fox.doc", readFileSync(join(dir, "sample.doc")));
  a.drop("old/pond.xls", readFileSync(join(dir, "sample.xls")));
  a.drop("old/talk.doc", readFileSync(join(dir, "sample.ppt")));
  a.drop("old/mail.msg", readFileSync(join(dir, "sample.msg")));
  a.drop("old/LIESMICH", "Die Schleuse von Terneuzen ist gesperrt.\n");
  rmSync(dir, { recursive: true });
  await a.settled({ n: 10 });
  const cases = [
    ["Reynard seven", "old/fox.doc", /Reynard \| seven/, null, null],
    ["ducks mixed", "old/pond.xls", /2018-04-10 \| 3\.25 \| mixed/, 1, "sheet Pond"],
    ["say it slowly", "old/talk.doc", /Say it slowly/, 1, "slide 1"],
    ["foxes of Ann Berg", "old/mail.msg", /Ann Berg/, null, null],
    ["Schleuse Terneuzen", "old/LIESMICH", /gesperrt/, null, null],
  ];
  for (const [q, path, words, page, unit] of cases) {
    const p = (await a.search(q)).find((x) => x.document.path === path);
    assert.ok(p, `${path} is found by ${q}`);
    assert.match(p.text, words);
    if (page) assert.equal(p.page, page, path);
    if (unit) assert.equal(p.unit, unit, path);
    if (path.endsWith(".msg")) assert.equal((await a.request(`/api/documents/${p.document.id}/original`)).headers.get("content-type"), "application/vnd.ms-outlook");
  }
});
