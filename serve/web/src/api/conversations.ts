// What a person has kept, and links to it.

import { type Answer, type Citation, type Verdict } from "./chat";
import { JSON_BODY, call } from "./http";
import { type Filter } from "./search";

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
