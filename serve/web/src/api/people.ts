// Users and keys.

import { call, post } from "./http";

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
