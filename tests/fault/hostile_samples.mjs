// A small sound document of every format that is read, made here, and documents made to do harm.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 as nodeCrc, deflateSync, gzipSync } from "node:zlib";
import { binDir } from "../service/appliance.mjs";
import { makePdf } from "../service/pdf.mjs";
import { docxRels, docxTypes, makeDocx, makeZip } from "../service/zip.mjs";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");

/** The formats, as the code has them: [[name, first ending], ...]. */
export function formats() {
  const text = readFileSync(join(root, "ingest/formats/formats.def"), "utf8");
  return [...text.matchAll(/^FORMAT\((\w+), \w+,\s*" (\.\w+)/gm)].map((m) => [m[1], m[2]]);
}

const xml = (body) => `<?xml version="1.0" encoding="UTF-8"?>${body}`;
const relations = (...list) =>
  xml(`<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">${list.map(([id, type, target]) => `<Relationship Id="${id}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/${type}" Target="${target}"/>`).join("")}</Relationships>`);
const R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"';

export function makeXlsx(strings, rows) {
  const S = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"';
  return makeZip([
    ["_rels/.rels", relations(["r1", "officeDocument", "xl/workbook.xml"])],
    ["xl/workbook.xml", xml(`<workbook ${S} ${R}><sheets><sheet name="Pond" sheetId="1" r:id="r1"/></sheets></workbook>`)],
    ["xl/_rels/workbook.xml.rels", relations(["r1", "worksheet", "worksheets/sheet1.xml"], ["r2", "sharedStrings", "sharedStrings.xml"])],
    ["xl/sharedStrings.xml", xml(`<sst ${S}>${strings}</sst>`)],
    ["xl/worksheets/sheet1.xml", xml(`<worksheet ${S}><sheetData>${rows}</sheetData></worksheet>`)],
  ]);
}

const pptx = () => {
  const P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"';
  const shape = (type, text) => `<p:sp><p:nvSpPr><p:nvPr><p:ph type="${type}"/></p:nvPr></p:nvSpPr><p:txBody><a:p><a:r><a:t>${text}</a:t></a:r></a:p></p:txBody></p:sp>`;
  return makeZip([
    ["_rels/.rels", relations(["r1", "officeDocument", "ppt/presentation.xml"])],
    ["ppt/presentation.xml", xml(`<p:presentation ${P} ${R}><p:sldIdLst><p:sldId id="256" r:id="r1"/></p:sldIdLst></p:presentation>`)],
    ["ppt/_rels/presentation.xml.rels", relations(["r1", "slide", "slides/slide1.xml"])],
    ["ppt/slides/slide1.xml", xml(`<p:sld ${P}><p:cSld><p:spTree>${shape("title", "Foxes")}${shape("body", "They dig dens.")}</p:spTree></p:cSld></p:sld>`)],
  ]);
};

function odf(kind, body) {
  const N = 'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0" xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" xmlns:draw="urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"';
  return makeZip([
    ["mimetype", `application/vnd.oasis.opendocument.${kind}`],
    ["content.xml", xml(`<office:document-content ${N}><office:body><office:${kind}>${body}</office:${kind}></office:body></office:document-content>`)],
  ]);
}

const epub = () =>
  makeZip([
    ["mimetype", "application/epub+zip"],
    ["META-INF/container.xml", xml('<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="b.opf" media-type="application/oebps-package+xml"/></rootfiles></container>')],
    ["b.opf", xml('<package xmlns="http://www.idpf.org/2007/opf"><metadata/><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest><spine><itemref idref="a"/></spine></package>')],
    ["a.xhtml", '<html xmlns="http://www.w3.org/1999/xhtml"><body><h1>Foxes</h1><p>They dig dens.</p></body></html>'],
  ]);

const table = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
const crc32 = nodeCrc ?? ((b) => {
  let c = 0xffffffff;
  for (const x of b) c = table[(c ^ x) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
});
const u16 = (...list) => Buffer.from(Uint16Array.from(list).buffer);
const u32 = (...list) => Buffer.from(Uint32Array.from(list).buffer);

/** RAR 4, stored. */
function rar(name, data) {
  const block = (type, flags, fields, extra = Buffer.alloc(0)) => {
    const head = Buffer.concat([Buffer.from([type]), u16(flags, 7 + fields.length), fields]);
    return Buffer.concat([u16(crc32(head) & 0xffff), head, extra]);
  };
  const file = Buffer.concat([u32(data.length, data.length), Buffer.from([3]), u32(crc32(data), 0x58210000), Buffer.from([20, 0x30]), u16(name.length), u32(0x81a4), Buffer.from(name)]);
  return Buffer.concat([Buffer.from("Rar!\x1a\x07\x00", "latin1"), block(0x73, 0, Buffer.alloc(6)), block(0x74, 0x8000, file, data), block(0x7b, 0x4000, Buffer.alloc(0))]);
}

/** A cabinet, stored. */
function cab(name, data) {
  const file = Buffer.concat([u32(data.length, 0), u16(0, 0x5821, 0, 0x20), Buffer.from(`${name}\0`)]);
  const files = 36 + 8;
  const blocks = files + file.length;
  const size = blocks + 8 + data.length;
  return Buffer.concat([Buffer.from("MSCF"), u32(0, size, 0, files, 0), Buffer.from([3, 1]), u16(1, 1, 0, 0, 0), u32(blocks), u16(1, 0), file, u32(0), u16(data.length, data.length), data]);
}

function png(width, height, rows = Buffer.alloc((width + 1) * height, 0xff)) {
  const chunk = (type, data) => {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(data.length);
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(Buffer.concat([Buffer.from(type), data])));
    return Buffer.concat([head, Buffer.from(type), data, sum]);
  };
  const size = Buffer.alloc(13);
  size.writeUInt32BE(width, 0);
  size.writeUInt32BE(height, 4);
  size[8] = 8;
  return Buffer.concat([Buffer.from("\x89PNG\r\n\x1a\n", "latin1"), chunk("IHDR", size), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

const eml = "From: Ann <ann@example.org>\r\nTo: bo@example.org\r\nSubject: =?utf-8?q?F=C3=BCchse?=\r\nDate: Thu, 29 Feb 2024 13:45:00 +0100\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nF=FCchse graben.\r\n> asked\r\n--b\r\nContent-Type: application/octet-stream; name=\"den.txt\"\r\nContent-Transfer-Encoding: base64\r\n\r\nSW4gdGhlIGRlbi4=\r\n--b--\r\n";

/** A sound document of that name; dir: what write-samples has written. */
export function sample(name, dir) {
  const makers = {
    pdf: () => makePdf([[{ size: 18, text: "Foxes" }, "They dig dens in the wood."], ["A second page."]], { title: "Foxes" }),
    docx: () => makeDocx([["Heading1", "Foxes"], "They dig dens in the wood."]),
    html: () => '<!DOCTYPE html><html lang="en"><head><title>Foxes</title></head><body><h1>Foxes</h1><p>They dig <b>dens</b> &amp; hide.</p><table><tr><th>a</th><td>1</td></tr></table><ul><li>x</li></ul></body></html>',
    md: () => "# Foxes\n\nThey *dig* dens, see [here](http://fox.example).\n\n- one\n- two\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```c\nint x;\n```\n",
    txt: () => "Foxes dig dens.\n\nF\u00fcchse graben Baue. \u72d0\u306f\u7a74\u3092\u6398\u308b\u3002\n",
    csv: () => 'name,city,age\r\n"Ann, Dr.","Bonn\r\nam Rhein",41\r\nBo,,7\r\n',
    json: () => '{"title": "Foxes", "list": [{"name": "Reynard", "age": 7.10}, {"name": "Vix\\u00e9n", "age": null}]}',
    eml: () => eml,
    mbox: () => `From ann@example.org Thu Feb 29 13:45:00 2024\n${eml.replaceAll("\r\n", "\n")}\nFrom bo@example.org Thu Feb 29 13:46:00 2024\nSubject: second\n\nShort.\n`,
    rtf: () => "{\\rtf1\\ansi\\ansicpg1252{\\fonttbl{\\f0\\fcharset0 Arial;}}{\\stylesheet{\\s1 heading 1;}}\\s1 Foxes\\par\\pard They dig d\\'e9ns \\u8364?{\\footnote A note.}\\par\\trowd\\intbl a\\cell b\\cell\\row}",
    xml: () => '<?xml version="1.0"?><list><item id="1"><name>Fox</name><age>7</age></item><item id="2"><name>Vixen</name><age>5</age></item></list>',
    code: () => "/* Foxes. */\n#include <stdio.h>\n\nint dig(int depth)\n{\n    return depth + 1;\n}\n\nint main(void)\n{\n    return dig(2);\n}\n",
    rst: () => "Foxes\n=====\n\nThey dig dens. [#n]_\n\n* one\n* two\n\n+---+---+\n| a | b |\n+---+---+\n| 1 | 2 |\n+---+---+\n\n.. [#n] A note.\n",
    asciidoc: () => "= Foxes\n:author: Ann\n\nThey dig dens.\n\n* one\n** two\n\n.A table\n|===\n|a |b\n|1 |2\n|===\n\n----\ncode\n----\n",
    xlsx: () => makeXlsx("<si><t>Fox</t></si><si><t>Vixen</t></si>", '<row r="1"><c r="A1" t="s"><v>0</v></c><c r="B1" t="s"><v>1</v></c></row><row r="2"><c r="A2"><v>1.5</v></c></row>'),
    pptx,
    odt: () => odf("text", '<text:h text:outline-level="1">Foxes</text:h><text:p>They dig dens.</text:p>'),
    ods: () => odf("spreadsheet", '<table:table table:name="Pond"><table:table-row><table:table-cell><text:p>Fox</text:p></table:table-cell><table:table-cell table:number-columns-repeated="3"><text:p>7</text:p></table:table-cell></table:table-row></table:table>'),
    odp: () => odf("presentation", '<draw:page><draw:frame><draw:text-box><text:p>Foxes</text:p></draw:text-box></draw:frame></draw:page>'),
    epub,
    subtitles: () => "WEBVTT\n\n00:01.000 --> 00:04.000\n<v Ann>Foxes dig dens.\n\n00:05.000 --> 00:09.000\nIndeed.\n",
    zip: () => makeZip([["fox.txt", "Foxes dig dens.\n"], ["more/den.md", "# Den\n"]]),
    gz: () => gzipSync("Foxes dig dens.\n"),
    rar: () => rar("fox.txt", Buffer.from("Foxes dig dens.\n")),
    cab: () => cab("fox.txt", Buffer.from("Foxes dig dens.\n")),
    image: () => png(40, 30),
    png: () => png(40, 30),
    org: () => "#+TITLE: Foxes\n\n* Dens\nThey dig [[http://fox.example][dens]].\n- one\n| a | b |\n|---+---|\n| 1 | 2 |\n#+BEGIN_SRC c\nint x;\n#+END_SRC\n",
    ipynb: () => JSON.stringify({ nbformat: 4, metadata: {}, cells: [{ cell_type: "markdown", source: ["# Foxes\n", "They dig."] }, { cell_type: "code", source: "print(1)", outputs: [{ output_type: "stream", text: ["1\n"] }] }] }),
  };
  if (makers[name]) return Buffer.from(makers[name]());
  return readFileSync(join(dir, `sample.${name}`)); // throws: a new format needs a sample
}

/** Those that no script writes with ease. */
export const writeSamples = (dir) => execFileSync(join(binDir, "../tests/write-samples"), [dir]);

// ---- made to do harm ----

const laughs = (open, close) => `<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a "aaaaaaaaaa">${Array.from({ length: 9 }, (_, i) => `<!ENTITY ${"bcdefghij"[i]} "${`&${"abcdefghi"[i]};`.repeat(10)}">`).join("")}]>${open}&j;${close}`;
const W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"';
const docx = (body) => makeZip([["[Content_Types].xml", docxTypes], ["_rels/.rels", docxRels], ["word/document.xml", body]]);
const document = (body) => docx(`<w:document ${W}><w:body>${body}</w:body></w:document>`);
const nested = (n, open, inner, close) => open.repeat(n) + inner + close.repeat(n);

function pdfWith(content, { box = "0 0 612 792", filter = "", kids = "[3 0 R]" } = {}) {
  const head = `%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n2 0 obj\n<< /Type /Pages /Count 1 /Kids ${kids} >>\nendobj\n3 0 obj\n<< /Type /Page /Parent 2 0 R /MediaBox [${box}] /Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> /Contents 4 0 R >>\nendobj\n4 0 obj\n<< /Length ${content.length} ${filter} >>\nstream\n`;
  return Buffer.concat([Buffer.from(head), content, Buffer.from("\nendstream\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n")]);
}

function nestedZip(depth) {
  let inner = makeZip([["fox.txt", "Foxes.\n"]]);
  for (let i = 0; i < depth; i++) inner = makeZip([[`${i}.zip`, inner]]);
  return inner;
}

/** Mail within mail: each part is the boundary of the next. */
function nestedMail(depth) {
  let out = "From: a@b.de\nSubject: deep\n";
  for (let i = 0; i < depth; i++) out += `Content-Type: multipart/mixed; boundary=b${i}\n\n--b${i}\n`;
  return `${out}Content-Type: text/plain\n\nDeep down.\n`;
}

/** [name, format, () => bytes]. */
export const bombs = [
  ["divs in divs", "html", () => nested(300_000, "<div>", "fox", "</div>")],
  ["tables in tables", "html", () => nested(20_000, "<table><tr><td>", "fox", "</td></tr></table>")],
  ["attributes without end", "html", () => `<p ${Array.from({ length: 100_000 }, (_, i) => `a${i}="x"`).join(" ")}>fox</p>`],
  ["quotes in quotes", "md", () => `${"> ".repeat(50_000)}fox\n`],
  ["brackets", "md", () => "[".repeat(200_000) + "fox"],
  ["emphasis", "md", () => "*a **b ".repeat(50_000)],
  ["list in list", "md", () => Array.from({ length: 3000 }, (_, i) => `${"  ".repeat(i)}- x`).join("\n")],
  ["arrays in arrays", "json", () => nested(500_000, "[", "1", "]")],
  ["objects in objects", "json", () => nested(200_000, '{"a":', "1", "}")],
  ["a number without end", "json", () => `{"a": ${"1".repeat(5_000_000)}}`],
  ["groups in groups", "rtf", () => `{\\rtf1 ${nested(100_000, "{", "fox", "}")}}`],
  ["elements in elements", "xml", () => `<?xml version="1.0"?>${nested(200_000, "<a>", "fox", "</a>")}`],
  ["bytes that are none of its encoding", "xml", () => Buffer.concat([Buffer.from('<?xml version="1.0" encoding="TIS-620"?><a><b>fox</b><b>'), Buffer.alloc(5000, 0xff), Buffer.from("</b></a>")])],
  ["billion laughs", "xml", () => laughs("<z>", "</z>")],
  ["an outside entity", "xml", () => '<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a SYSTEM "file:///etc/passwd">]><z>fox &a;</z>'],
  ["billion laughs", "html", () => laughs("<html><body><p>", "</p></body></html>")],
  ["billion laughs", "docx", () => docx(laughs(`<w:document ${W}><w:body><w:p><w:r><w:t>`, "</w:t></w:r></w:p></w:body></w:document>"))],
  ["billion laughs", "odt", () => makeZip([["mimetype", "application/vnd.oasis.opendocument.text"], ["content.xml", laughs("<z>", "</z>")]])],
  ["billion laughs", "epub", () => makeZip([["mimetype", "application/epub+zip"], ["META-INF/container.xml", laughs("<z>", "</z>")]])],
  ["tables in tables", "docx", () => document(nested(20_000, "<w:tbl><w:tr><w:tc>", "<w:p/>", "</w:tc></w:tr></w:tbl>"))],
  ["300 MB of spaces", "docx", () => docx(Buffer.alloc(300_000_000, 0x20))],
  ["300 MB of text", "docx", () => document(`<w:p><w:r><w:t>${"fox ".repeat(30_000_000)}</w:t></w:r></w:p>`)],
  ["one string a million times", "xlsx", () => makeXlsx(`<si><t>${"fox ".repeat(20_000)}</t></si>`, `<row>${'<c t="s"><v>0</v></c>'.repeat(200_000)}</row>`)],
  ["rows at the end of the world", "ods", () => odf("spreadsheet", '<table:table><table:table-row table:number-rows-repeated="1000000000"><table:table-cell table:number-columns-repeated="1000000000"><text:p>fox</text:p></table:table-cell></table:table-row></table:table>')],
  ["zeros", "gz", () => gzipSync(Buffer.alloc(300_000_000))],
  ["zeros", "zip", () => makeZip([["big.txt", Buffer.alloc(300_000_000, 0x61)]])],
  ["zip in zip", "zip", () => nestedZip(200)],
  ["a million names", "zip", () => makeZip(Array.from({ length: 60_000 }, (_, i) => [`${i}`, ""]))],
  ["ways out", "zip", () => makeZip([["../../../../tmp/carrel-escaped.txt", "out"], ["/tmp/carrel-escaped.txt", "out"], ["a\\..\\..\\b.txt", "out"], [Buffer.from([0xff, 0xfe, 0x2f, 0x0a, 0x1b]), "odd"]])],
  ["parts in parts", "eml", () => nestedMail(50_000)],
  ["a header without end", "eml", () => `From: a@b.de\nSubject: ${"fox ".repeat(1_000_000)}\n\nx\n`],
  ["boundaries", "eml", () => `From: a@b.de\nContent-Type: multipart/mixed; boundary=b\n\n${"--b\n\nx\n".repeat(300_000)}`],
  ["messages", "mbox", () => "From a Thu Feb 29 13:45:00 2024\nSubject: x\n\ny\n\n".repeat(100_000)],
  ["marks that close nothing", "csv", () => '"'.repeat(3_000_000)],
  ["columns", "csv", () => `${"a,".repeat(500_000)}\n${"1,".repeat(500_000)}\n`],
  ["titles", "rst", () => "=\n".repeat(300_000)],
  ["lists", "asciidoc", () => `${"*".repeat(5)} x\n`.repeat(100_000)],
  ["braces", "code", () => "{".repeat(2_000_000)],
  ["arrows", "subtitles", () => "00:01.000 --> 00:02.000\n".repeat(200_000)],
  ["100 MB of nothing", "pdf", () => pdfWith(deflateSync(Buffer.alloc(100_000_000, 0x20)), { filter: "/Filter /FlateDecode" })],
  ["text without end", "pdf", () => pdfWith(Buffer.from(`BT /F1 10 Tf ${"(fox) Tj 1 0 Td ".repeat(300_000)} ET`))],
  ["a page that is its own folder", "pdf", () => pdfWith(Buffer.from("BT ET"), { kids: "[2 0 R 2 0 R]" })],
  ["a page as large as a country", "pdf", () => pdfWith(Buffer.from("BT ET"), { box: "0 0 1e30 1e30" })],
];
