// Who used what, and what it cost.

import { call } from "./http";

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
  estimated_micro: number;
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
