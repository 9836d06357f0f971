// What the tests send and get is compared with the appliance's own description of its API (/openapi.json). appliance.mjs puts
// this around fetch, so clients that others wrote are compared too.
//
// An answer that is not as described fails the test that asked: addresses, status codes, media types, fields, events of streams.
// So does a request that was accepted although its body is not as described. Requests that are refused may be as wrong as they
// like. An answer has no field, an error no status and no code that is not described; only requests may say more.

const formats = {
  sha256: /^[0-9a-f]{64}$/,
  date: /^\d{4}-\d\d-\d\d$/,
  "date-time": /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?Z)?$/,
  month: /^\d{4}-\d\d$/,
  uri: /^[a-z]+:/,
};

/** Problems of a value under a schema of `doc`, as text; the first few. */
export function problems(doc, schema, value, at = "", found = []) {
  if (found.length >= 5 || schema === undefined) return found;
  const note = (text) => found.push(`${at || "the whole"}: ${text}`);
  if (schema.$ref) {
    const name = schema.$ref.replace("#/components/schemas/", "");
    const target = doc.components.schemas[name];
    if (!target) note(`no schema ${name}`);
    else problems(doc, target, value, at, found);
  }
  for (const part of schema.allOf ?? []) problems(doc, part, value, at, found);
  if (schema.anyOf && !schema.anyOf.some((s) => problems(doc, s, value, at).length === 0)) note(`fits none of ${schema.anyOf.map((s) => s.$ref ?? s.type ?? "…").join(", ")}: ${JSON.stringify(value)?.slice(0, 80)}`);
  if ("const" in schema && schema.const !== value) note(`${JSON.stringify(value)} is not ${schema.const}`);
  if (schema.enum && !schema.enum.includes(value)) note(`${JSON.stringify(value)} is none of ${schema.enum.join(", ")}`);
  const kind = value === null ? "null" : Array.isArray(value) ? "array" : typeof value === "number" && Number.isInteger(value) ? "integer" : typeof value;
  const types = schema.type === undefined ? null : [].concat(schema.type);
  if (types && !types.includes(kind) && !(kind === "integer" && types.includes("number"))) {
    note(`${kind} where ${types.join(" or ")} is wanted: ${JSON.stringify(value)?.slice(0, 80)}`);
    return found;
  }
  if (kind === "integer" || kind === "number") {
    if (schema.minimum !== undefined && value < schema.minimum) note(`${value} is less than ${schema.minimum}`);
    if (schema.maximum !== undefined && value > schema.maximum) note(`${value} is more than ${schema.maximum}`);
  }
  if (kind === "string") {
    const n = [...value].length;
    if (n < (schema.minLength ?? 0) || n > (schema.maxLength ?? Infinity)) note(`a text of ${n} letters`);
    if (schema.format in formats && !formats[schema.format].test(value)) note(`${JSON.stringify(value.slice(0, 40))} is no ${schema.format}`);
  }
  if (kind === "object") {
    for (const name of schema.required ?? []) if (!(name in value)) note(`no "${name}"`);
    for (const [name, v] of Object.entries(value)) {
      const told = schema.properties && Object.hasOwn(schema.properties, name);
      if (!told && schema.additionalProperties === false) note(`"${name}" is not described`);
      const s = told ? schema.properties[name] : schema.additionalProperties;
      if (s) problems(doc, s, v, `${at}.${name}`, found);
    }
  }
  if (kind === "array" && schema.items) value.forEach((v, i) => problems(doc, schema.items, v, `${at}[${i}]`, found));
  return found;
}

/** The operation an address is for, and its pattern; undefined: none. As serve's router: the first pattern that fits. */
export function operation(doc, method, pathname) {
  const verb = method === "HEAD" ? "get" : method.toLowerCase();
  for (const [pattern, item] of Object.entries(doc.paths)) {
    if (!item[verb]) continue;
    const re = new RegExp(`^${pattern.split(/(\{[^}]+\})/).map((p) => (p.startsWith("{") ? "[^/]+" : p.replace(/[.*+?^$()|[\]\\]/g, "\\$&"))).join("")}$`);
    if (re.test(pathname)) return { op: item[verb], pattern };
  }
  return undefined;
}

const media = (r) => (r.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();

/** What the HTTP layer itself may say of any request. */
const everywhere = new Set([405, 408, 412, 421, 426, 431, 499]);

/** The schema of an answer, or a text that says why there is none. undefined: nothing to compare. */
function answerSchema(op, r) {
  const told = op.responses[String(r.status)] ?? (r.status >= 500 || everywhere.has(r.status) ? op.responses.default : undefined);
  if (r.status === 304 || r.status === 429 || r.status === 206 || r.status === 416) return undefined;
  if (!told) return `status ${r.status} is not described`;
  if (!told.content) return undefined;
  const type = media(r);
  if (type === "") return undefined;
  if (told.content[type]) return told.content[type].schema;
  // files go out as what they are
  return told.content["application/octet-stream"] ? undefined : `${type} is not described for status ${r.status}`;
}

/** An error's code, where the route says which there are. */
function codeProblem(op, r, value) {
  const told = op.responses[String(r.status)];
  const code = value?.error?.code;
  if (r.status < 400 || r.status >= 500 || typeof code !== "string" || !told?.["x-codes"]) return [];
  return told["x-codes"].includes(code) ? [] : [`the code ${code} is none of ${told["x-codes"].join(", ")}`];
}

const described = new Map(); // origin -> promise of the document, or null
const real = globalThis.fetch;

async function document(origin) {
  if (!described.has(origin)) {
    described.set(origin, real(`${origin}/openapi.json`).then((r) => (r.ok ? r.json() : null), () => null));
  }
  return described.get(origin);
}

/** From now on answers of this address are compared. */
export function compare(url) {
  described.delete(new URL(url).origin);
  known.add(new URL(url).origin);
}
const known = new Set();

function fail(method, url, text, list) {
  return new Error(`${method} ${new URL(url).pathname} is not as /openapi.json says: ${text}\n  ${list.join("\n  ")}`);
}

/** A stream as it was, each event or line compared on its way. */
function events(doc, schema, r, lines, complain) {
  const decoder = new TextDecoder();
  let rest = "";
  const one = (text) => {
    if (text === "" || text === "[DONE]") return;
    let value;
    try {
      value = JSON.parse(text);
    } catch {
      return complain([`an event that is no JSON: ${text.slice(0, 80)}`]);
    }
    const list = problems(doc, schema, value);
    if (list.length > 0) complain(list);
  };
  const look = new TransformStream({
    transform(chunk, controller) {
      rest += decoder.decode(chunk, { stream: true });
      let end;
      while ((end = rest.indexOf(lines ? "\n" : "\n\n")) >= 0) {
        const event = rest.slice(0, end);
        rest = rest.slice(end + (lines ? 1 : 2));
        one(lines ? event.trim() : event.split("\n").filter((l) => l.startsWith("data:")).map((l) => l.slice(5).trim()).join("\n"));
      }
      controller.enqueue(chunk);
    },
  });
  const copy = new Response(r.body.pipeThrough(look), { status: r.status, statusText: r.statusText, headers: r.headers });
  Object.defineProperty(copy, "url", { value: r.url });
  return copy;
}

async function compared(input, init) {
  const request = input instanceof Request ? input : null;
  const url = request ? request.url : String(input);
  const r = await real(input, init);
  let origin;
  try {
    origin = new URL(url).origin;
  } catch {
    return r;
  }
  if (!known.has(origin)) return r;
  const doc = await document(origin);
  const method = (init?.method ?? request?.method ?? "GET").toUpperCase();
  const found = doc && operation(doc, method, new URL(url).pathname);
  if (!found || found.op["x-undescribed"] || method === "HEAD") return r;
  if (r.ok && typeof init?.body === "string" && found.op.requestBody?.content["application/json"]) {
    let body;
    try {
      body = JSON.parse(init.body);
    } catch { /* not for us */ }
    const list = body === undefined ? [] : problems(doc, found.op.requestBody.content["application/json"].schema, body);
    if (list.length > 0) throw fail(method, url, "a request that was accepted", list);
  }
  const schema = answerSchema(found.op, r);
  if (typeof schema === "string") throw fail(method, url, schema, []);
  const type = media(r);
  if (schema === undefined) return r;
  if (type === "text/event-stream" || type === "application/x-ndjson") {
    return events(doc, schema, r, type === "application/x-ndjson", (list) => {
      throw fail(method, url, "an event", list);
    });
  }
  if (type !== "application/json") return r;
  const text = await r.clone().text();
  const value = text === "" ? undefined : JSON.parse(text);
  const list = value === undefined ? ["no body"] : [...problems(doc, schema, value), ...codeProblem(found.op, r, value)];
  if (list.length > 0) throw fail(method, url, `status ${r.status}`, list);
  return r;
}

globalThis.fetch = compared;
