// The record, for auditors.

import { call } from "./http";

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
  verdict: "whole" | "older" | "broken";
  records: number;
  acts: number;
  checkpoints: number;
  interrupted: number;
  texts_erased: number;
  texts_beyond: number;
  findings: { seq: number; text: string }[];
  more_findings: number;
}

export async function audit(query: string): Promise<AuditPage> {
  return (await call("GET", `/api/audit?${query}`)).json() as Promise<AuditPage>;
}

export async function verifyAudit(): Promise<AuditVerdict> {
  return (await call("GET", "/api/audit/verify")).json() as Promise<AuditVerdict>;
}
