// The appliance's HTTP API as this page uses it (docs/api.md). One session cookie, one CSRF token.

export interface Session {
  user: string;
  tenant: string;
  admin: boolean;
  user_id: string;
  role: string;
  scopes: string[];
  person: boolean; // signed in, not by key
  has_password: boolean;
  second_factor: boolean;
  must_change_password: boolean;
  csrf: string;
}

export interface Box {
  page: number;
  x0: number;
  y0: number;
  x1: number;
  y1: number;
}

export interface Citation {
  number: number;
  document: { id: string; path: string; title?: string };
  page?: number;
  heading_path?: string;
  /** The part of the document: "slide 4", "sheet Q3", "message Re: offer". */
  unit?: string;
  /** What the text needs from before it: a table's header row, the words that lead in a list. */
  context?: string;
  text: string;
  start: number;
  end: number;
  boxes?: Box[];
}

export interface Answer {
  conversation?: string;
  answer_id?: string;
  engine?: string;
  model?: string;
  note?: string;
  refused?: boolean;
  rewritten?: string;
  widen?: number; // neighbours joined to each passage
  route?: { verdict: string; reason: string };
  search?: { encoder: string; encoder_model?: string; reranker?: string; reranker_model?: string };
}

export interface Doc {
  id: string;
  path: string;
  state: "queued" | "working" | "ready" | "failed";
  chunks: number;
  error?: string;
  size?: number;
  pages?: number;
  format?: string;
  title?: string; // the file's name where the document has none
  collection?: string;
  away?: boolean;
  author?: string; // several are divided by "; "
  language?: string;
  date?: string; // 2024-05-31
  hash?: string;
  label?: string;
  tags?: string[];
  readers?: string[];
  keywords?: string;
  document_created?: string;
  document_modified?: string;
  parent?: string; // the document it lies in: it has no file of its own
  note?: string; // what of it was left out
  members?: number; // documents that lie in it
  members_done?: number; // of them: read, or found unreadable
  reading?: string; // how far its pages are, where they are pictures
}

export interface Progress {
  queued: number;
  working: number;
  ready: number;
  failed: number;
  doing?: string;
  paused?: boolean;
  seconds_left?: number;
}

export async function pause(paused: boolean): Promise<void> {
  await call("POST", "/api/progress", JSON.stringify({ paused }), { "Content-Type": "application/json" });
}

export interface Turn {
  role: "user" | "assistant";
  content: string;
}

/** An answer other than 2xx, in the server's own words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code = "",
  ) {
    super(message);
  }
}

let csrf = "";

async function fail(r: Response): Promise<never> {
  let message = `${r.status} ${r.statusText}`;
  let code = "";
  try {
    const body = (await r.json()) as { error?: { message?: string; code?: string } };
    message = body.error?.message ?? message;
    code = body.error?.code ?? "";
  } catch {
    // not JSON: the status line has to do
  }
  throw new ApiError(r.status, message, code);
}

async function call(method: string, path: string, body?: BodyInit, headers: Record<string, string> = {}) {
  if (method !== "GET" && csrf !== "") headers["X-CSRF-Token"] = csrf;
  let r: Response;
  try {
    r = await fetch(path, { method, body, headers, credentials: "same-origin" });
  } catch {
    throw new ApiError(0, "The appliance does not answer. Is it running?");
  }
  if (!r.ok) await fail(r);
  return r;
}

export async function session(): Promise<Session> {
  const s = (await (await call("GET", "/api/session")).json()) as Session;
  csrf = s.csrf;
  return s;
}

export type Given = { key: string } | { name: string; password: string; tenant?: string; code?: string };

export async function signIn(given: Given): Promise<Session> {
  await post("/api/session", given);
  return session();
}

async function post(path: string, body: object): Promise<Response> {
  return call("POST", path, JSON.stringify(body), { "Content-Type": "application/json" });
}

export async function changePassword(old: string, wanted: string): Promise<void> {
  await post("/api/session/password", { old, new: wanted });
}

export async function beginTotp(): Promise<{ secret: string; uri: string; qr_svg: string }> {
  return (await post("/api/session/totp", {})).json();
}

/** Recovery codes, shown once. */
export async function confirmTotp(code: string): Promise<string[]> {
  return ((await (await post("/api/session/totp/confirm", { code })).json()) as { recovery_codes: string[] }).recovery_codes;
}

export async function removeTotp(code: string): Promise<void> {
  await call("DELETE", `/api/session/totp?code=${encodeURIComponent(code)}`);
}

export interface User {
  id: string;
  name: string;
  tenant: string;
  role: string;
  groups: string[];
  issuer?: string;
  disabled: boolean;
  locked: boolean;
  second_factor: boolean;
  must_change_password: boolean;
  last_seen?: number;
  password?: string; // in the answer that made it
}

export interface Key {
  id: string;
  name: string;
  tenant: string;
  role: string;
  scopes: string[];
  groups: string[];
  collections: string[];
  addresses: string[];
  owner?: string;
  expires?: number;
  expired?: boolean;
  last_used?: number;
  last_used_from?: string;
  key?: string; // in the answer that made it
}

export async function users(): Promise<User[]> {
  return ((await (await call("GET", "/api/users")).json()) as { users: User[] }).users;
}

export async function addUser(user: { name: string; role: string; groups: string[] }): Promise<User> {
  return (await post("/api/users", user)).json();
}

export async function changeUser(id: string, change: { role?: string; disabled?: boolean }): Promise<void> {
  await post(`/api/users/${encodeURIComponent(id)}`, change);
}

export async function removeUser(id: string): Promise<void> {
  await call("DELETE", `/api/users/${encodeURIComponent(id)}`);
}

/** The new one. */
export async function resetPassword(id: string): Promise<string> {
  return ((await (await post(`/api/users/${encodeURIComponent(id)}/password`, {})).json()) as { password: string }).password;
}

export async function resetTotp(id: string): Promise<void> {
  await call("DELETE", `/api/users/${encodeURIComponent(id)}/totp`);
}

export async function keys(): Promise<Key[]> {
  return ((await (await call("GET", "/api/keys")).json()) as { keys: Key[] }).keys;
}

export async function addKey(key: object): Promise<Key> {
  return (await post("/api/keys", key)).json();
}

export async function removeKey(id: string): Promise<void> {
  await call("DELETE", `/api/keys/${encodeURIComponent(id)}`);
}

/** By which ways people can sign in besides a key. */
export interface Ways {
  oidc?: { name: string; start: string; sign_out?: string };
  ldap?: { name: string };
}

export async function waysIn(): Promise<Ways> {
  return (await call("GET", "/api/session/ways")).json();
}

export async function signInDirectory(user: string, password: string): Promise<void> {
  await call("POST", "/api/session/ldap", JSON.stringify({ user, password }), { "Content-Type": "application/json" });
}

export interface Webhook {
  id: string;
  name: string;
  url: string;
  events: string[];
  enabled: boolean;
  why?: string;
  failing_since?: number;
  last_taken?: number;
  waiting: number;
  given_up: number;
}

export interface Delivery {
  id: string;
  event: string;
  state: "waiting" | "taken" | "given_up";
  attempts: number;
  created: number;
  next?: number;
  status?: number;
  error?: string;
}

const webhook = (id: string, below = "") => `/api/webhooks/${encodeURIComponent(id)}${below}`;

export async function webhooks(): Promise<{ webhooks: Webhook[]; allow: string[]; allow_private: string[] }> {
  return (await call("GET", "/api/webhooks")).json() as Promise<{ webhooks: Webhook[]; allow: string[]; allow_private: string[] }>;
}

export async function addWebhook(url: string, events: string[], name: string): Promise<Webhook & { secret: string }> {
  return (await post("/api/webhooks", name === "" ? { url, events } : { url, events, name })).json() as Promise<Webhook & { secret: string }>;
}

export async function changeWebhook(id: string, enabled: boolean): Promise<void> {
  await post(webhook(id), { enabled });
}

export async function removeWebhook(id: string): Promise<void> {
  await call("DELETE", webhook(id));
}

export async function testWebhook(id: string): Promise<void> {
  await post(webhook(id, "/test"), {});
}

export async function newWebhookSecret(id: string): Promise<string> {
  return ((await (await post(webhook(id, "/secret"), {})).json()) as { secret: string }).secret;
}

export async function againWebhook(id: string, delivery: string): Promise<void> {
  await post(webhook(id, `/deliveries/${encodeURIComponent(delivery)}`), {});
}

export async function deliveries(id: string): Promise<Delivery[]> {
  return ((await (await call("GET", webhook(id, "/deliveries"))).json()) as { deliveries: Delivery[] }).deliveries;
}

export async function signOut(): Promise<void> {
  await call("DELETE", "/api/session");
  csrf = "";
}

export async function documents(): Promise<{ documents: Doc[]; notes?: string[] }> {
  return (await call("GET", "/api/documents")).json();
}

export async function documentInfo(id: string): Promise<Doc> {
  return (await call("GET", `/api/documents/${encodeURIComponent(id)}`)).json();
}

export async function progress(): Promise<Progress> {
  return (await call("GET", "/api/progress")).json();
}

export async function remove(id: string): Promise<void> {
  await call("DELETE", `/api/documents/${encodeURIComponent(id)}`);
}

/** XMLHttpRequest, because fetch cannot tell how much has been sent. */
export function upload(file: File, onProgress: (share: number) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const x = new XMLHttpRequest();
    x.open("POST", `/api/documents?path=${encodeURIComponent(file.name)}`);
    x.setRequestHeader("X-CSRF-Token", csrf);
    x.setRequestHeader("Content-Type", "application/octet-stream");
    x.upload.onprogress = (e) => e.lengthComputable && onProgress(e.loaded / e.total);
    x.onerror = () => reject(new ApiError(0, "The connection broke during the upload."));
    x.onload = () => {
      if (x.status >= 200 && x.status < 300) return resolve();
      let message = `${x.status} ${x.statusText}`;
      try {
        message = JSON.parse(x.responseText).error.message;
      } catch {
        // the status line has to do
      }
      reject(new ApiError(x.status, message));
    };
    x.send(file);
  });
}

export interface DocumentText {
  text: string;
  chunks: { start: number; end: number; page?: number; unit?: string; heading_path?: string }[];
}

export async function documentText(id: string): Promise<DocumentText> {
  return (await call("GET", `/api/documents/${encodeURIComponent(id)}/text`)).json();
}

export interface PagePicture {
  url: string;
  widthPoints: number;
  heightPoints: number;
}

export async function pagePicture(id: string, page: number): Promise<PagePicture> {
  const r = await call("GET", `/api/documents/${encodeURIComponent(id)}/pages/${page}.png`);
  return {
    url: URL.createObjectURL(await r.blob()),
    widthPoints: Number(r.headers.get("X-Page-Width-Points")),
    heightPoints: Number(r.headers.get("X-Page-Height-Points")),
  };
}

export function originalUrl(id: string): string {
  return `/api/documents/${encodeURIComponent(id)}/original`;
}

interface ChatChunk {
  choices?: { delta?: { content?: string } }[];
  citations?: Citation[];
  carrel?: Answer;
  error?: { message: string };
}

export type Verdict = "up" | "down" | "none";

/** What this person thinks of an answer of his, or of its passage with that number. */
export async function feedback(answer: string, verdict: Verdict, passage?: number): Promise<void> {
  await call("POST", "/api/feedback", JSON.stringify({ answer, verdict, passage }), { "Content-Type": "application/json" });
}

export interface ChatHandlers {
  onText(delta: string): void;
  onCitations(citations: Citation[]): void;
  onAnswer(answer: Answer): void;
}

/** Streams one answer; resolves at its end. Aborting the signal stops the work on the server too. */
export interface Filter {
  collections?: string[];
  labels?: string[];
  tags?: string[];
  languages?: string[];
  formats?: string[];
  authors?: string[];
  from?: string;
  until?: string;
  as_of?: string;
}
export interface Facet {
  value: string;
  documents: number;
}
export interface Facets {
  collections: Facet[];
  labels: Facet[];
  tags: Facet[];
  languages: Facet[];
  formats: Facet[];
  authors: Facet[];
}

/** The values that documents this person may read have. */
export async function facets(): Promise<Facets> {
  return (await (await call("GET", "/api/facets")).json()) as Facets;
}

export interface WordUse {
  word: string;
  in_text: number;
  in_title: boolean;
  share: number;
  function_word: boolean;
  earlier?: boolean;
}
export interface WhyNot {
  known: boolean;
  candidates: number;
  filtered?: string[];
  shown_rank?: number;
  dense_rank?: number;
  best?: { text_rank?: number; text_score?: number; words: number; words_needed: number; uses?: WordUse[] };
}
export interface Explained {
  passages: {
    document: { id: string };
    start: number;
    end: number;
    score: number;
    why: { text_rank?: number; text_score?: number; dense_rank?: number; dense_score?: number; rerank_score?: number; rank_before?: number; folded?: string[]; uses?: WordUse[] };
  }[];
  reranker?: string;
  interpreted?: { phrases?: string[]; excluded?: string[]; in_title?: string[]; filters?: string[] };
  similar?: { word: string; tried: string[] }[];
  why_not?: WhyNot;
}

/** The search that an answer was made from. */
export interface Asked {
  query: string;
  earlier?: string[]; // earlier questions of the conversation, oldest first
  rewritten?: string;
  widen?: number;
  filter?: Filter;
}

/** Why these passages; with a document, why not that one. */
export async function explain({ filter, ...asked }: Asked, document?: string): Promise<Explained> {
  const body = JSON.stringify({ ...filter, ...asked, document });
  return (await call("POST", "/api/explain", body, { "Content-Type": "application/json" })).json();
}

/** Ready documents whose file's name has these letters in it. */
export async function documentsNamed(name: string, limit: number, signal: AbortSignal): Promise<Doc[]> {
  const r = await fetch(`/api/documents?state=ready&limit=${limit}&q=${encodeURIComponent(name)}`, { credentials: "same-origin", signal });
  if (!r.ok) await fail(r);
  return ((await r.json()) as { documents: Doc[] }).documents;
}

export interface Interval {
  mean: number;
  low: number; // 95 % interval
  high: number;
}
export interface Measures {
  questions: number;
  recall_5: Interval;
  recall_20: Interval;
  ndcg_10: Interval;
  mrr_10: Interval;
}
export interface Run {
  id: number;
  at: number; // seconds since 1970
  encoder: string;
  mode: string;
  settings: string;
  documents: number;
  all?: Measures;
  collections: (Measures & { collection: string })[];
}
export interface Evaluation {
  running: boolean;
  done: number;
  total: number;
  failed?: string;
  runs: Run[]; // newest first
  difference?: Measures;
}
export interface Configuration {
  mode?: string;
  encoder?: string;
}

export async function evaluation(history: number, a?: number, b?: number): Promise<Evaluation> {
  const compare = a !== undefined && b !== undefined ? `&a=${a}&b=${b}` : "";
  return (await call("GET", `/api/eval?history=${history}${compare}`)).json();
}

export async function evaluate(configurations: Configuration[]): Promise<void> {
  await call("POST", "/api/eval", JSON.stringify({ configurations }), { "Content-Type": "application/json" });
}

export async function stopEvaluation(): Promise<void> {
  await call("DELETE", "/api/eval");
}

export interface Opinions {
  answers: number;
  refused: number;
  liked: number;
  disliked: number;
  passages_liked: number;
  passages_disliked: number;
  unanswered: { question: string; times: number; at: number }[];
}

export async function opinions(days: number): Promise<Opinions> {
  return (await call("GET", `/api/feedback?days=${days}`)).json();
}

export interface Encoder {
  name: string;
  state: string;
  vectors: number;
}

export async function encoders(): Promise<Encoder[]> {
  return ((await (await call("GET", "/api/encoders")).json()) as { encoders: Encoder[] }).encoders;
}

export interface Version {
  from: number; // seconds since 1970
  until?: number;
  path: string;
  stored: boolean;
}

/** What is kept of a document's past, newest first. */
/** Whole numbers; money in millionths. */
export interface UsageAmounts {
  requests: number;
  prompt_tokens: number;
  completion_tokens: number;
  embedding_tokens: number;
  cpu_us: number;
  gpu_us: number;
  upload_bytes: number;
  cost_micro: number;
  external_micro: number;
}
export interface Capacity {
  capacity_us: number;
  used_us: number;
  idle_us: number;
  idle_share: number;
}
type UsageGroup = UsageAmounts & { share: number; budget_micro?: number };
export interface Usage {
  month: string;
  tenant: string;
  currency: string;
  share_of: string;
  totals: UsageAmounts & { storage_micro: number; all_micro: number };
  teams: (UsageGroup & { team: string })[];
  users: (UsageGroup & { user: string; name: string })[];
  models: (UsageGroup & { model: string })[];
  days: (UsageAmounts & { day: string })[];
  storage: { collection: string; bytes: number; documents: number; cost_micro: number; found: number; read_documents: number; read_cpu_us: number; read_micro: number }[];
  capacity: { cores: number; cpu: Capacity; gpu?: Capacity } | null;
  advice: { rule: string; text: string }[];
}
export async function usage(month: string): Promise<Usage> {
  return (await call("GET", `/api/usage?month=${encodeURIComponent(month)}`)).json() as Promise<Usage>;
}

/** The budget that is nearly used up, in words; null: none. */
export async function budgetWarning(): Promise<string | null> {
  return (await call("GET", "/api/limits/mine")).headers.get("x-carrel-budget-warning");
}

export async function versions(id: string): Promise<Version[]> {
  const r = await call("GET", `/api/documents/${encodeURIComponent(id)}/versions`);
  return ((await r.json()) as { versions: Version[] }).versions;
}

export interface ConversationRow {
  id: string;
  title: string;
  created: number; // seconds since 1970
  changed: number;
  exchanges: number;
  shares: number;
}
export interface Exchange {
  number: number;
  hidden?: boolean;
  answer?: string;
  question?: string;
  text?: string;
  citations?: Citation[];
  carrel?: Answer;
  filter?: Filter;
  feedback?: { passage: number; verdict: Verdict }[];
}
export interface Share {
  id: string;
  created: number;
  expires: number;
  exchanges: number;
}

const JSON_BODY = { "Content-Type": "application/json" };
const one = (id: string) => `/api/conversations/${encodeURIComponent(id)}`;

export async function conversations(title: string, before: string | null, limit: number): Promise<{ keep_days: number; conversations: ConversationRow[]; next: string | null }> {
  const q = new URLSearchParams({ limit: String(limit), ...(title !== "" && { q: title }), ...(before !== null && { before }) });
  return (await call("GET", `/api/conversations?${q}`)).json();
}
export async function conversation(id: string): Promise<{ id: string; title: string; exchanges: Exchange[] }> {
  return (await call("GET", one(id))).json();
}
export async function renameConversation(id: string, title: string): Promise<void> {
  await call("PATCH", one(id), JSON.stringify({ title }), { ...JSON_BODY });
}
export async function deleteConversation(id: string): Promise<void> {
  await call("DELETE", one(id));
}
export async function eraseConversations(): Promise<void> {
  await call("DELETE", "/api/conversations");
}
export function exportUrl(id: string | null, format: "markdown" | "json"): string {
  return `${id === null ? "/api/conversations" : one(id)}/export?format=${format}`;
}
export async function shares(id: string): Promise<Share[]> {
  return ((await (await call("GET", `${one(id)}/shares`)).json()) as { shares: Share[] }).shares;
}
export async function makeShare(id: string, days: number): Promise<Share & { token: string }> {
  return (await call("POST", `${one(id)}/shares`, JSON.stringify({ days }), { ...JSON_BODY })).json();
}
export async function unshare(id: string, share: string): Promise<void> {
  await call("DELETE", `${one(id)}/shares/${encodeURIComponent(share)}`);
}
export async function shared(token: string): Promise<{ title: string; expires: number; exchanges: Exchange[] }> {
  return (await call("GET", `/api/shared/${encodeURIComponent(token)}`)).json();
}

export interface ApiSchema {
  $ref?: string;
  type?: string | string[];
  const?: string;
  enum?: (string | null)[];
  anyOf?: ApiSchema[];
  allOf?: ApiSchema[];
  items?: ApiSchema;
  properties?: Record<string, ApiSchema>;
  required?: string[];
  description?: string;
}
type ApiContent = Record<string, { schema?: ApiSchema }>;
export interface ApiOperation {
  tags: string[];
  summary?: string;
  description?: string;
  parameters: { name: string; in: string; required: boolean; schema: ApiSchema }[];
  requestBody?: { content: ApiContent };
  responses: Record<string, { content?: ApiContent }>;
  "x-roles"?: string[];
  "x-scopes"?: string[];
  "x-csrf"?: string;
}
export interface ApiDescription {
  tags: { name: string; description: string }[];
  paths: Record<string, Record<string, ApiOperation>>;
  components: { schemas: Record<string, ApiSchema> };
}

export interface AuditEntry {
  record: { seq: number; at: number; type: string; [field: string]: unknown };
  text: Record<string, unknown> | null;
  text_state: string;
}
export interface AuditPage {
  seq: number;
  head: string;
  at: number;
  signed_seq: number;
  records: AuditEntry[];
}
export interface AuditVerdict {
  verdict: "whole" | "broken";
  records: number;
  acts: number;
  checkpoints: number;
  interrupted: number;
  texts_erased: number;
  findings: { seq: number; text: string }[];
  more_findings: number;
}

export async function audit(query: string): Promise<AuditPage> {
  return (await call("GET", `/api/audit?${query}`)).json() as Promise<AuditPage>;
}
export async function verifyAudit(): Promise<AuditVerdict> {
  return (await call("GET", "/api/audit/verify")).json() as Promise<AuditVerdict>;
}

export async function apiDescription(): Promise<ApiDescription> {
  return (await call("GET", "/openapi.json")).json();
}

/** keep: a conversation's id, or "new": the question and its answer are kept in it. */
export async function chat(messages: Turn[], on: ChatHandlers, signal: AbortSignal, filter?: Filter, keep?: string): Promise<void> {
  const headers: Record<string, string> = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
  const r = await fetch("/v1/chat/completions", {
    method: "POST",
    credentials: "same-origin",
    headers,
    body: JSON.stringify({ model: "carrel", stream: true, messages, carrel: filter, conversation: keep }),
    signal,
  });
  if (!r.ok || r.body === null) await fail(r);
  for await (const data of events(r.body!)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data) as ChatChunk;
    if (chunk.error) throw new ApiError(502, chunk.error.message);
    if (chunk.citations) on.onCitations(chunk.citations);
    if (chunk.carrel) on.onAnswer(chunk.carrel);
    const text = chunk.choices?.[0]?.delta?.content;
    if (text) on.onText(text);
  }
  throw new ApiError(502, "The answer broke off before its end.");
}

/** The data of each server-sent event. */
async function* events(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    let end: number;
    while ((end = rest.indexOf("\n\n")) >= 0) {
      const event = rest.slice(0, end);
      rest = rest.slice(end + 2);
      const data = event
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trimStart())
        .join("\n");
      if (data !== "") yield data;
    }
  }
}
