// A small zip writer for fixtures: deflated members; declared sizes can be made to lie.

import { crc32 as nodeCrc, deflateRawSync } from "node:zlib";

const table = Array.from({ length: 256 }, (_, n) => {
  for (let k = 0; k < 8; k++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n >>> 0;
});
const crc32 = nodeCrc ?? ((b) => {
  let c = 0xffffffff;
  for (const x of b) c = table[(c ^ x) & 255] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
});

export function makeZip(members) {
  const parts = [];
  const central = [];
  let at = 0;
  for (const [name, data, { claimed } = {}] of members) {
    const body = Buffer.from(data);
    const packed = deflateRawSync(body, { level: 9 });
    const n = Buffer.from(name);
    const head = Buffer.alloc(26);
    head.writeUInt16LE(20, 0);
    head.writeUInt16LE(0x800, 2);
    head.writeUInt16LE(8, 4);
    head.writeUInt32LE(0x00210000, 6);
    head.writeUInt32LE(crc32(body), 10);
    head.writeUInt32LE(packed.length, 14);
    head.writeUInt32LE(claimed ?? body.length, 18);
    head.writeUInt16LE(n.length, 22);
    parts.push(Buffer.from("PK\x03\x04"), head, n, packed);
    const offset = Buffer.alloc(4);
    offset.writeUInt32LE(at);
    central.push(Buffer.concat([Buffer.from("PK\x01\x02"), Buffer.from([20, 0]), head, Buffer.alloc(10), offset, n]));
    at += 4 + head.length + n.length + packed.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(members.length, 4);
  end.writeUInt16LE(members.length, 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(at, 12);
  return Buffer.concat([...parts, directory, Buffer.from("PK\x05\x06"), end]);
}

const W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"';
const escape = (s) => s.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

export const docxTypes = '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>';
export const docxRels = '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="r1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>';

/** paragraphs: strings, or ["Heading1", "text"] */
export function makeDocx(paragraphs, { documentXml } = {}) {
  const body = paragraphs.map((p) => {
    const [style, text] = Array.isArray(p) ? p : ["", p];
    return `<w:p>${style ? `<w:pPr><w:pStyle w:val="${style}"/></w:pPr>` : ""}<w:r><w:t xml:space="preserve">${escape(text)}</w:t></w:r></w:p>`;
  });
  return makeZip([
    ["[Content_Types].xml", docxTypes],
    ["_rels/.rels", docxRels],
    ["word/document.xml", documentXml ?? `<?xml version="1.0"?><w:document ${W}><w:body>${body.join("")}</w:body></w:document>`],
  ]);
}
