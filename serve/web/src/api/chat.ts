// One answer, as it streams in; thumbs.

import { type Box } from "./documents";
import { ApiError, call, csrf, fail } from "./http";
import { type Filter } from "./search";

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

export interface Turn {
  role: "user" | "assistant";
  content: string;
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

/** Streams one answer; resolves at its end. Aborting the signal stops the work on the server too.
 *  keep: a conversation's id, or "new": the question and its answer are kept in it. */
export async function chat(messages: Turn[], on: ChatHandlers, signal: AbortSignal, filter?: Filter, keep?: string): Promise<void> {
  const headers: Record<string, string> = { "Content-Type": "application/json", "X-CSRF-Token": csrf };
  const gone = new ApiError(0, "The appliance does not answer. Is it running?");
  const r = await fetch("/v1/chat/completions", {
    method: "POST",
    credentials: "same-origin",
    headers,
    body: JSON.stringify({ model: "carrel", stream: true, messages, carrel: filter, conversation: keep }),
    signal,
  }).catch((e: Error) => {
    throw signal.aborted ? e : gone;
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
    const { done, value } = await reader.read().catch((e: Error) => {
      throw e.name === "AbortError" ? e : new ApiError(502, "The answer broke off before its end.");
    });
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
