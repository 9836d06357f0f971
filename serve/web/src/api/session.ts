// Who is signed in, and one's own account.

import { call, post, setCsrf } from "./http";

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

export async function session(): Promise<Session> {
  const s = (await (await call("GET", "/api/session")).json()) as Session;
  setCsrf(s.csrf);
  return s;
}

export type Given = { key: string } | { name: string; password: string; tenant?: string; code?: string };

export async function signIn(given: Given): Promise<Session> {
  await post("/api/session", given);
  return session();
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

export async function signOut(): Promise<void> {
  await call("DELETE", "/api/session");
  setCsrf("");
}
