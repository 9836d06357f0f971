// Responses that were kept hold what people said and were told: erasures find it, also where it is JSON within a text, and it
// goes when its days are over.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { holding, startAppliance, until } from "./appliance.mjs";

const config = (days) => `http:\n  requests_per_minute: 0\nresponses:\n  keep_days: ${days}\n`;
let a;
before(async () => {
  a = await startAppliance({ config: config(30) });
  a.drop("ships/a.md", "# Harbour\n\nThe lighthouse keeper counts seventeen barges.\n");
  a.drop("birds/b.md", "# Falcons\n\nThe falcon dives at 320 kilometres an hour.\n");
  await a.settled({ n: 2 });
});
after(async () => a?.stop());

const ask = (input, more = {}) => a.post("/v1/responses", { model: "carrel", input, ...more });
const status = async (r) => (await a.request(`/v1/responses/${r.id}`)).status;
const erase = async (body) => {
  const e = await a.post("/api/erasures", body);
  await until("it is erased", async () => (await a.get(`/api/erasures/${e.id}`)).state === "done");
};

test("a person named in JSON within what was said, or in a key of it, is found", { timeout: 180_000 }, async () => {
  const who = "Zörvald Ümbrekson";
  const arguments_ = JSON.stringify({ name: who, at: "gate" }).replace(/[^ -~]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const kept = [
    await ask(`How fast does the falcon dive? It was asked as ${arguments_}`),
    await ask(`How fast does the falcon dive? It was asked as ${JSON.stringify(JSON.stringify(arguments_))}`),
    await ask("How fast does the falcon dive?", { metadata: { [who]: "patient" } }),
  ];
  const other = await ask("How fast does the falcon dive? \\u007a\\n");
  const seen = await a.post("/api/erasures", { subject: who, dry_run: true });
  assert.equal(seen.answers, 3);
  await erase({ subject: who });
  for (const r of kept) assert.equal(await status(r), 404);
  assert.equal(await status(other), 200);
  assert.deepEqual(holding(a.home, ["\\u00f6rvald", who]), []);
});

test("turns that follow an answer from an erased document go with it", { timeout: 180_000 }, async () => {
  const first = await ask("How many barges does the lighthouse keeper count?", { carrel: { collections: ["ships"] } });
  assert.match(JSON.stringify(first), /seventeen/);
  const next = await ask("How fast does the falcon dive?", { previous_response_id: first.id, carrel: { collections: ["birds"] } });
  const third = await ask("How fast does the falcon dive in kilometres?", { previous_response_id: next.id, carrel: { collections: ["birds"] } });
  const alone = await ask("How fast does the falcon dive?", { carrel: { collections: ["birds"] } });
  const { id } = (await a.documents()).find((d) => d.path === "ships/a.md");
  await erase({ documents: [id] });
  for (const r of [first, next, third]) assert.equal(await status(r), 404);
  assert.equal(await status(alone), 200);
});

test("an id with more behind it is none", { timeout: 180_000 }, async () => {
  const r = await ask("How fast does the falcon dive?");
  const long = await a.request("/v1/responses", { method: "POST", body: { model: "carrel", input: "And then?", previous_response_id: `${r.id}x` } });
  assert.equal(long.status, 400);
});

test("after their days they are not told any more", { timeout: 180_000 }, async () => {
  const r = await ask("How fast does the falcon dive?");
  assert.equal(await status(r), 200);
  const home = a.home;
  await a.stop({ keep: true });
  a = await startAppliance({ home, config: config(0) });
  assert.equal(await status(r), 404);
});
