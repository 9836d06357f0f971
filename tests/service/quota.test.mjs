// What a tenant's documents may take: an upload above it is refused, a watched file above it is listed with the reason and
// taken by itself when there is room.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startAppliance, until } from "./appliance.mjs";

let a;
const text = (word, bytes) => `# ${word}\n\n` + `The ${word} is counted once more. `.repeat(200).slice(0, bytes - word.length - 4);
const state = async () => Object.fromEntries((await a.documents()).map((d) => [d.path, d]));
async function upload(name, body) {
  const form = new FormData();
  form.append("file", new Blob([body]), name);
  return a.request("/api/documents", { method: "POST", body: form });
}

before(async () => {
  a = await startAppliance({ config: "http:\n  requests_per_minute: 0\ningest:\n  quota: 1KiB\ntenants:\n  - name: main\n    quota: 5KiB\n" });
});
after(async () => {
  await a?.stop();
});

test("uploads are refused above the tenant's own quota", { timeout: 180_000 }, async () => {
  const one = await upload("one.md", text("heron", 3000));
  assert.equal(one.status, 201, await one.text());
  const two = await upload("two.md", text("crane", 3000));
  assert.equal(two.status, 507);
  assert.match(JSON.stringify(await two.json()), /no room for it: .* of the 5\.0 KiB that this tenant may have/);
  await a.settled({ n: 1 });
  assert.deepEqual(Object.keys(await state()), ["one.md"]);
  const p = await a.get("/api/progress");
  assert.deepEqual([p.bytes, p.quota_bytes, p.without_room], [3000, 5120, 0]);
});

test("a watched file above it waits with the reason and is taken when there is room", { timeout: 180_000 }, async () => {
  a.drop("three.md", text("stork", 3000));
  a.drop("never.md", text("goose", 5500));
  a.drop("small.md", text("finch", 1000));
  await until("both are told", async () => {
    const s = await state();
    return s["three.md"]?.state === "failed" && s["never.md"]?.state === "failed" && s["small.md"]?.state === "ready";
  });
  let s = await state();
  assert.match(s["three.md"].error, /^no room: .* taken when there is room/);
  await until("it is said", async () => (await a.get("/api/progress")).without_room === 2);
  assert.deepEqual((await a.search("stork")).length, 0);
  assert.equal((await a.request(`/api/documents/${s["one.md"].id}`, { method: "DELETE" })).status, 200);
  await until("it is taken", async () => (await state())["three.md"]?.state === "ready");
  s = await state();
  assert.equal(s["never.md"].state, "failed");
  assert.ok((await a.search("stork")).length > 0);
  assert.equal((await a.get("/api/progress")).bytes, 4000);
});
