// Frameworks that speak through a client of their own, against a whole appliance: Vercel's AI SDK (its OpenAI, OpenAI-compatible
// and Anthropic providers check every answer against schemas) and OpenAI's Agents SDK. The other libraries: clients.test.mjs.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { startAppliance, until } from "../service/appliance.mjs";
import { tinyHome } from "../service/tiny_model.mjs";

const libraries = ["ai", "@ai-sdk/openai", "@ai-sdk/openai-compatible", "@ai-sdk/anthropic", "@openai/agents", "openai", "zod"];
const [{ embedMany, generateText, Output, stepCountIs, streamText, tool }, { createOpenAI }, { createOpenAICompatible }, { createAnthropic }, agents, { default: OpenAI }, { z }] = await Promise.all(libraries.map((x) => import(x))).catch((e) => {
  console.log(`SKIP: the frameworks cannot be loaded (cd tests/clients && npm ci; node 20): ${e.message}`);
  process.exit(77);
});
globalThis.AI_SDK_LOG_WARNINGS = false;

const dir = mkdtempSync(join(tmpdir(), "carrel-frameworks-"));
const question = "When is the espresso machine descaled?";
const espresso = /descaled on the first Monday of every month/;
const http = "http:\n  requests_per_minute: 0\n";
let quotes, tiny; // one quotes; the other has a model of noise, which is made to call

before(async () => {
  quotes = await startAppliance({ config: http });
  quotes.drop("kitchen/coffee.md", "# Kitchen\n\n## Coffee\n\nThe espresso machine is descaled on the first Monday of every month.\n");
  await quotes.settled({ n: 1 });
  tiny = await startAppliance({ home: tinyHome(dir), config: `${http}generate:\n  model: tiny\n  context: 6144\n` });
  await until("the model is ready", async () => /carrel_generate_model_ready 1/.test(await (await tiny.request("/metrics")).text()));
});

after(async () => {
  for (const a of [quotes, tiny]) assert.equal((await a?.stop()).code, 0, a.output.slice(-4000));
  rmSync(dir, { recursive: true, force: true });
});

/** Each way that the AI SDK has to a model of an appliance. */
const ways = {
  "openai, responses": (a, model) => createOpenAI({ baseURL: `${a.url}/v1`, apiKey: a.key })(model),
  "openai, chat completions": (a, model) => createOpenAI({ baseURL: `${a.url}/v1`, apiKey: a.key }).chat(model),
  "openai-compatible": (a, model) => createOpenAICompatible({ name: "carrel", baseURL: `${a.url}/v1`, apiKey: a.key, includeUsage: true, supportsStructuredOutputs: true })(model),
  anthropic: (a, model) => createAnthropic({ baseURL: `${a.url}/v1`, apiKey: a.key })(model),
};
const city = z.object({ city: z.enum(["Bonn", "Ulm"]) });

for (const [name, way] of Object.entries(ways)) {
  describe(`AI SDK: ${name}`, () => {
    test("an answer from documents, whole and as a stream", async () => {
      const model = way(quotes, "carrel");
      const whole = await generateText({ model, prompt: question, maxOutputTokens: 200 });
      assert.match(whole.text, espresso);
      assert.equal(whole.finishReason, "stop");
      const stream = streamText({ model, prompt: question, maxOutputTokens: 200, onError: ({ error }) => assert.ifError(error) });
      assert.match(await stream.text, espresso);
      assert.equal(await stream.finishReason, "stop");
    });

    test("plain chat, cut at its length", async () => {
      const r = await generateText({ model: way(tiny, "tiny"), system: "be brief", prompt: "Hello", maxOutputTokens: 8 });
      assert.equal(r.finishReason, "length");
      assert.ok(r.usage.inputTokens > 0 && r.usage.outputTokens <= 8, JSON.stringify(r.usage));
    });

    test("held to a schema", async () => {
      const r = await generateText({ model: way(tiny, "tiny"), prompt: "Where?", output: Output.object({ schema: city }), maxOutputTokens: 400 });
      assert.ok(["Bonn", "Ulm"].includes(r.output.city));
    });

    test("tools are called, their results go back, and are streamed", async () => {
      const rain = { description: "How much rain", inputSchema: city };
      const ask = { model: way(tiny, "tiny"), prompt: "Rain?", toolChoice: "required", maxOutputTokens: 400 };
      const r = await generateText({ ...ask, stopWhen: stepCountIs(2), tools: { rain: tool({ ...rain, execute: async (x) => `3 mm in ${x.city}` }) } });
      assert.deepEqual(r.steps.map((s) => s.finishReason), ["tool-calls", "tool-calls"]);
      for (const s of r.steps) assert.match(s.toolResults[0].output, /^3 mm in (Bonn|Ulm)$/);
      const stream = streamText({ ...ask, tools: { rain: tool(rain) }, onError: ({ error }) => assert.ifError(error) });
      assert.ok(["Bonn", "Ulm"].includes((await stream.toolCalls)[0].input.city));
    });
  });
}

test("AI SDK: embeddings", async () => {
  for (const model of [createOpenAI({ baseURL: `${quotes.url}/v1`, apiKey: quotes.key }).embedding("carrel-embed"), createOpenAICompatible({ name: "carrel", baseURL: `${quotes.url}/v1`, apiKey: quotes.key }).embeddingModel("carrel-embed")]) {
    const r = await embedMany({ model, values: ["coffee", "birds"] });
    assert.equal(r.embeddings.length, 2);
    assert.ok(r.usage.tokens > 0);
  }
});

for (const api of ["responses", "chat_completions"]) {
  test(`Agents SDK: ${api}`, async () => {
    const { Agent, OpenAIProvider, Runner, tool: agentTool } = agents;
    const runner = (a) => new Runner({ modelProvider: new OpenAIProvider({ openAIClient: new OpenAI({ baseURL: `${a.url}/v1`, apiKey: a.key }), useResponses: api === "responses" }), tracingDisabled: true });
    const reader = new Agent({ name: "reader", instructions: "be brief", model: "carrel" });
    assert.match((await runner(quotes).run(reader, question)).finalOutput, espresso);
    const stream = await runner(quotes).run(reader, question, { stream: true });
    let text = "";
    for await (const piece of stream.toTextStream()) text += piece;
    await stream.completed;
    assert.match(text, espresso);
    const rain = agentTool({ name: "rain", description: "How much rain", parameters: city, execute: async (x) => `3 mm in ${x.city}` });
    const caller = new Agent({ name: "caller", model: "tiny", tools: [rain], modelSettings: { toolChoice: "required", maxTokens: 400 }, toolUseBehavior: "stop_on_first_tool" });
    assert.match((await runner(tiny).run(caller, "Rain?")).finalOutput, /^3 mm in (Bonn|Ulm)$/);
  });
}
