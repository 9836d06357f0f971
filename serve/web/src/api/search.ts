// What can be filtered by, and why passages were found.

import { call } from "./http";

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
