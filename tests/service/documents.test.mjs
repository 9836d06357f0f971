// The write path through the running services: five kinds of file, every change followed, bad input explained.

import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { closeSync, ftruncateSync, mkdirSync, openSync, renameSync, rmSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startAppliance, until } from "./appliance.mjs";
import { makePdf } from "./pdf.mjs";
import { docxRels, docxTypes, makeDocx, makeZip } from "./zip.mjs";

let a;
before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\nextract:\n  wall_s: 20\n  cpu_s: 15\n  memory_mb: 512\ningest:\n  max_file_bytes: 150MiB\n" });
});
after(async () => a?.stop());

const byPath = async (path) => (await a.documents()).find((d) => d.path === path);
const state = (path, wanted, timeout = 60_000) => until(`${path} is ${wanted}`, async () => {
  const d = await byPath(path);
  return d?.state === wanted && d;
}, { timeout });
const found = async (query, path) => (await a.search(query)).find((p) => p.document.path === path);

test("five kinds of file are read, with page, heading path and character range", async () => {
  a.drop("report.pdf", makePdf([["Introduction to the yearly accounts."], ["The treasurer of the choir is Miriam Vandersloot."]], { title: "Accounts" }));
  a.drop("letter.docx", makeDocx([["Heading1", "Moving"], "We move to Larkspur Street on the ninth of May.", ["Heading2", "Boxes"], "Boxes are labelled with the room they go to."]));
  a.drop("page.html", "<html><head><title>Bees</title><style>p{}</style></head><body><script>var x='secret'</script><h1>Bees</h1><p>The hives stand <b>behind</b> the greenhouse.</p></body></html>");
  a.drop("notes.md", "# Garden\n\n## Compost\n\nCompost is turned every fortnight by the apprentice.\n");
  a.drop("plain.txt", "The piano tuner comes in the last week of October.\n");
  await a.settled({ n: 5 });
  const cases = [
    ["Who is the treasurer of the choir?", "report.pdf", /Miriam Vandersloot/, 2, null],
    ["When do we move to Larkspur Street?", "letter.docx", /ninth of May/, null, /Moving/],
    ["Where do the hives stand?", "page.html", /behind the greenhouse/, null, /Bees/],
    ["Who turns the compost?", "notes.md", /apprentice/, null, /Garden > Compost/],
    ["When does the piano tuner come?", "plain.txt", /last week of October/, null, null],
  ];
  for (const [q, path, text, page, heading] of cases) {
    const p = await found(q, path);
    assert.ok(p, `${path} is found`);
    assert.match(p.text, text);
    if (page) assert.equal(p.page, page);
    if (heading) assert.match(p.heading_path, heading);
    const whole = await a.get(`/api/documents/${p.document.id}/text`);
    assert.equal([...whole.text].slice(p.start, p.end).join(""), p.text, `${path}: the text stands at its range`);
  }
  assert.ok((await a.search("secret")).every((p) => !p.text.includes("secret")), "scripts are not text");
  const pdf = await found("treasurer choir", "report.pdf");
  assert.ok(pdf.boxes?.length > 0 && pdf.boxes[0].page === 2 && pdf.boxes[0].x1 > pdf.boxes[0].x0);
});

test("a change replaces, a rename moves without a new id, a delete removes", async () => {
  a.drop("follow/one.md", "# One\n\nThe password of the boathouse is heron.\n");
  const first = await state("follow/one.md", "ready");
  a.drop("follow/one.md", "# One\n\nThe password of the boathouse is kingfisher.\n");
  await until("the change is found", async () => (await found("boathouse password", "follow/one.md"))?.text.includes("kingfisher"));
  assert.ok((await a.search("boathouse password heron")).every((p) => !p.text.includes("heron")));
  await state("follow/one.md", "ready");
  mkdirSync(join(a.watch, "elsewhere"), { recursive: true });
  renameSync(join(a.watch, "follow/one.md"), join(a.watch, "elsewhere/uno.md"));
  const moved = await state("elsewhere/uno.md", "ready");
  assert.equal(moved.id, first.id);
  await until("search names the new path", async () => found("boathouse password", "elsewhere/uno.md"));
  assert.equal(await byPath("follow/one.md"), undefined);
  rmSync(join(a.watch, "elsewhere/uno.md"));
  await until("it is gone", async () => !(await byPath("elsewhere/uno.md")));
  await until("search has let it go", async () => (await found("boathouse password", "elsewhere/uno.md")) === undefined);
});

test("a whole folder moves in and out", async () => {
  const outside = join(dirname(a.home), "outside");
  mkdirSync(join(outside, "deep/er"), { recursive: true });
  writeFileSync(join(outside, "deep/er/x.md"), "# X\n\nThe sundial shows solar noon at twelve fourteen.\n");
  writeFileSync(join(outside, "y.md"), "# Y\n\nThe weather vane is a copper rooster.\n");
  renameSync(outside, join(a.watch, "arrived"));
  await state("arrived/deep/er/x.md", "ready");
  await state("arrived/y.md", "ready");
  renameSync(join(a.watch, "arrived"), outside);
  await until("both are gone", async () => !(await a.documents()).some((d) => d.path.startsWith("arrived/")));
});

test("identical files are stored once and found under every path", async () => {
  const text = "# Twin\n\nThe twin paragraph mentions a walrus moustache.\n";
  a.drop("twins/a.md", text);
  a.drop("twins/b.md", text);
  await state("twins/a.md", "ready");
  await state("twins/b.md", "ready");
  assert.equal((await a.search("walrus moustache")).filter((p) => p.text.includes("walrus")).length, 1, "one passage, not two");
  rmSync(join(a.watch, "twins/a.md"));
  await until("the other one stays", async () => (await a.search("walrus moustache"))[0]?.document.path === "twins/b.md");
});

test("collections limit a search", async () => {
  a.drop("red/c.md", "# C\n\nThe marmalade is kept in the cellar.\n");
  a.drop("blue/c.md", "# C\n\nThe marmalade is kept in the attic, the label says.\n");
  await state("red/c.md", "ready");
  await state("blue/c.md", "ready");
  const hits = await a.search("marmalade", { collections: ["blue"] });
  assert.ok(hits.length > 0 && hits.every((p) => p.document.path.startsWith("blue/")));
  assert.equal((await a.search("marmalade", { collections: ["nowhere"] })).length, 0);
});

test("names in any bytes: newline, Arabic, invalid UTF-8, backslash", async () => {
  a.drop("odd\nname.md", "# Odd\n\nThe newline file mentions a tangerine.\n");
  a.drop("تقرير.md", "# Report\n\nThe Arabic name file mentions a pomegranate.\n");
  const raw = Buffer.concat([Buffer.from(a.watch + "/"), Buffer.from([0x66, 0xff, 0xfe]), Buffer.from(".md")]);
  writeFileSync(raw, "# Raw\n\nThe invalid name file mentions a persimmon.\n");
  await state("odd\nname.md", "ready");
  await state("تقرير.md", "ready");
  await state("f\\xFF\\xFE.md", "ready");
  for (const fruit of ["tangerine", "pomegranate", "persimmon"]) assert.ok((await a.search(fruit)).some((p) => p.text.includes(fruit)), fruit);
});

test("a symlink out of the folder is never followed", async () => {
  const secret = join(dirname(a.home), "secret.md");
  writeFileSync(secret, "# Secret\n\nThe vault code is ostrich.\n");
  symlinkSync(secret, join(a.watch, "link.md"));
  symlinkSync(dirname(secret), join(a.watch, "linked-folder"));
  a.drop("after-link.md", "# After\n\nThe stepladder is yellow.\n");
  await state("after-link.md", "ready");
  await sleep(500);
  assert.ok((await a.search("vault code ostrich")).every((p) => !p.text.includes("ostrich")));
});

test("bad files end as failed with a reason, and none stops the queue", async () => {
  const bad = {
    "empty.txt": [Buffer.alloc(0), /empty/i],
    "empty.pdf": [Buffer.alloc(0), /empty/i],
    "truncated.pdf": [makePdf([["cut"]]).subarray(0, 120), /PDF/i],
    "encrypted.pdf": [
      Buffer.from(makePdf([["locked"]]).toString("latin1").replace("/Root 1 0 R", `/Root 1 0 R /ID [<00><00>] /Encrypt << /Filter /Standard /V 1 /R 2 /O <${"ab".repeat(32)}> /U <${"cd".repeat(32)}> /P -44 >>`), "latin1"),
      /encrypt|password/i,
    ],
    "not-a-zip.docx": [Buffer.from("PK nothing of the kind"), /Word|docx|zip/i],
    "bomb.docx": [makeZip([["[Content_Types].xml", docxTypes], ["_rels/.rels", docxRels], ["word/document.xml", Buffer.alloc(600_000_000, 0x20)]]), /large|limit|more than|too much/i],
    "lying-bomb.docx": [makeZip([["[Content_Types].xml", docxTypes], ["_rels/.rels", docxRels], ["word/document.xml", Buffer.alloc(400_000_000, 0x20), { claimed: 1000 }]]), /\w/],
    "entities.docx": [
      makeDocx([], { documentXml: `<?xml version="1.0"?><!DOCTYPE z [<!ENTITY a "aaaaaaaaaa">${Array.from({ length: 9 }, (_, i) => `<!ENTITY ${"bcdefghij"[i]} "${`&${"abcdefghi"[i]};`.repeat(10)}">`).join("")}]><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>&j;</w:t></w:r></w:p></w:body></w:document>` }),
      /\w/,
    ],
    "program.exe": [Buffer.from("MZ\0\0"), /support|kind|format/i],
  };
  for (const [name, [data]] of Object.entries(bad)) a.drop(`bad/${name}`, data);
  a.drop("bad/zz-good.md", "# Good\n\nThe last in the row mentions a bassoon.\n");
  await state("bad/zz-good.md", "ready", 90_000);
  for (const [name, [, reason]] of Object.entries(bad)) {
    const d = await state(`bad/${name}`, "failed", 90_000);
    assert.match(d.error, reason, `${name}: ${d.error}`);
    assert.doesNotMatch(d.error, /errno|0x|\(null\)/, name);
  }
});

test("invalid UTF-8 is read as far as it goes", async () => {
  a.drop("latin.txt", Buffer.from("Le gar\xe7on d'\xe9tage ferme la v\xe9randa.\n", "latin1"));
  a.drop("mixed.txt", Buffer.concat([Buffer.from("The trapdoor creaks "), Buffer.from([0xff, 0xc0, 0x80]), Buffer.from(" at night.\n")]));
  await state("latin.txt", "ready");
  await state("mixed.txt", "ready");
  assert.ok((await a.search("véranda garçon")).some((p) => p.text.includes("véranda")));
  assert.ok((await a.search("trapdoor creaks")).length > 0);
});

test("a 200 MB text file ends in bounded time, and small files do not wait behind it", async () => {
  const fd = openSync(join(a.watch, "huge.txt"), "w");
  const block = Buffer.from("An enormous file of the same words again and again. ".repeat(20_000));
  for (let n = 0; n < 200_000_000; n += block.length) writeSync(fd, block);
  ftruncateSync(fd, 200_000_000);
  closeSync(fd);
  a.drop("small-beside.md", "# Small\n\nThe ferret sleeps in the coat pocket.\n");
  await state("small-beside.md", "ready");
  const d = await until("huge.txt is ready or failed", async () => {
    const x = await byPath("huge.txt");
    return x && (x.state === "ready" || x.state === "failed") && x;
  }, { timeout: 120_000 });
  if (d.state === "failed") assert.match(d.error, /large|larger|limit|MB/i);
  rmSync(join(a.watch, "huge.txt"));
});

test("upload lands in the watched folder; DELETE moves to the trash", async () => {
  const form = new FormData();
  form.append("collection", "inbox");
  form.append("file", new Blob(["# Upload\n\nThe glacier guide wears crampons.\n"]), "guide.md");
  const r = await a.request("/api/documents", { method: "POST", body: form });
  assert.ok(r.status === 200 || r.status === 201 || r.status === 202, `${r.status} ${await r.clone().text()}`);
  const d = await state("inbox/guide.md", "ready");
  const gone = await a.request(`/api/documents/${d.id}`, { method: "DELETE" });
  assert.ok(gone.ok, await gone.text());
  assert.equal((await a.search("glacier guide crampons")).filter((p) => p.text.includes("crampons")).length, 0, "out of search at once");
  assert.equal(await byPath("inbox/guide.md"), undefined);
});

test("a collection of 200 chunks gets its fit, and new chunks are folded in", async () => {
  const subjects = ["harbour", "orchard", "furnace", "library", "glacier", "theatre", "bakery", "quarry", "railway", "vineyard"];
  for (let i = 0; i < 230; i++) {
    const s = subjects[i % subjects.length];
    a.drop(`fit/${i}.md`, `# ${s} ${i}\n\nThe ${s} of house ${i} is run by ${subjects[(i * 7) % 10]} people who know the ${s} and its ${subjects[(i * 3) % 10]} well.\n`);
  }
  const model = await until("a fitted encoder is listed", async () => {
    const list = (await a.get("/v1/models")).data;
    return list.find((m) => m.id.startsWith("carrel-lsa-"));
  }, { timeout: 120_000 });
  const e = await until("embeddings come from the fit", async () => {
    const r = await a.post("/v1/embeddings", { model: "carrel-embed", input: "harbour people" });
    return r.model === model.id && r;
  });
  assert.equal(e.data[0].embedding.length, 256);
  a.drop("fit/new.md", "# New\n\nThe harbour master keeps the railway timetable.\n");
  await state("fit/new.md", "ready");
  const dense = await until("dense search finds a chunk that came after the fit", async () => {
    const hits = await a.search("harbour master railway timetable", { mode: "dense" });
    return hits.some((p) => p.document.path === "fit/new.md");
  });
  assert.ok(dense);
});
