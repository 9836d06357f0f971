// Others are told what happens.

import { call, post } from "./http";

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
