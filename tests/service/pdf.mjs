// A small PDF writer for fixtures: pages of text lines in Helvetica, US letter, one object a page.

export function makePdf(pages, { title = "" } = {}) {
  const esc = (s) => s.replace(/[\\()]/g, (c) => "\\" + c);
  const objects = [];
  const add = (body) => objects.push(body);
  const nPages = pages.length;
  add("<< /Type /Catalog /Pages 2 0 R >>");
  add(`<< /Type /Pages /Count ${nPages} /Kids [${pages.map((_, i) => `${4 + 2 * i} 0 R`).join(" ")}] >>`);
  add("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>");
  pages.forEach((lines, i) => {
    add(`<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents ${5 + 2 * i} 0 R >>`);
    let y = 720;
    const ops = lines.map((line) => {
      const [size, text] = typeof line === "string" ? [11, line] : [line.size, line.text];
      y -= size * 1.6;
      return `BT /F1 ${size} Tf 72 ${y.toFixed(1)} Td (${esc(text)}) Tj ET`;
    });
    const stream = ops.join("\n");
    add(`<< /Length ${Buffer.byteLength(stream, "latin1")} >>\nstream\n${stream}\nendstream`);
  });
  add(`<< /Title (${esc(title)}) /Producer (fixture) >>`);
  let out = "%PDF-1.4\n%\xe2\xe3\xcf\xd3\n";
  const offsets = objects.map((body, i) => {
    const at = out.length;
    out += `${i + 1} 0 obj\n${body}\nendobj\n`;
    return at;
  });
  const xref = out.length;
  out += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n`;
  out += offsets.map((o) => `${String(o).padStart(10, "0")} 00000 n \n`).join("");
  out += `trailer\n<< /Size ${objects.length + 1} /Root 1 0 R /Info ${objects.length} 0 R >>\nstartxref\n${xref}\n%%EOF\n`;
  return Buffer.from(out, "latin1");
}

/** A PDF as a scanner writes it: each page is one JPEG, {jpeg, width, height} in pixels, on US letter. */
export function makeScan(pages) {
  const parts = [Buffer.from("%PDF-1.4\n", "latin1")];
  const offsets = [];
  let at = parts[0].length;
  const put = (bytes) => {
    parts.push(bytes);
    at += bytes.length;
  };
  const object = (head, stream) => {
    offsets.push(at);
    put(Buffer.from(`${offsets.length} 0 obj\n${head}\n`, "latin1"));
    if (stream) {
      put(Buffer.from("stream\n", "latin1"));
      put(stream);
      put(Buffer.from("\nendstream\n", "latin1"));
    }
    put(Buffer.from("endobj\n", "latin1"));
  };
  object("<< /Type /Catalog /Pages 2 0 R >>");
  object(`<< /Type /Pages /Count ${pages.length} /Kids [${pages.map((_, i) => `${3 + 3 * i} 0 R`).join(" ")}] >>`);
  pages.forEach((p, i) => {
    const paint = Buffer.from("q 612 0 0 792 0 0 cm /Im0 Do Q", "latin1");
    object(`<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /XObject << /Im0 ${5 + 3 * i} 0 R >> >> /Contents ${4 + 3 * i} 0 R >>`);
    object(`<< /Length ${paint.length} >>`, paint);
    object(`<< /Type /XObject /Subtype /Image /Width ${p.width} /Height ${p.height} /ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode /Length ${p.jpeg.length} >>`, p.jpeg);
  });
  const xref = at;
  put(Buffer.from(`xref\n0 ${offsets.length + 1}\n0000000000 65535 f \n${offsets.map((o) => `${String(o).padStart(10, "0")} 00000 n \n`).join("")}trailer\n<< /Size ${offsets.length + 1} /Root 1 0 R >>\nstartxref\n${xref}\n%%EOF\n`, "latin1"));
  return Buffer.concat(parts);
}
