// Measurements of search, what people say of answers, encoders.

import { call } from "./http";

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
