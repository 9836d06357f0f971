// Documents: what is there, its text, pages and past; uploads.

import { ApiError, call, csrf, fail } from "./http";

export interface Box {
  page: number;
  x0: number;
  y0: number;
  x1: number;
  y1: number;
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

/** Ready documents whose file's name has these letters in it. */
export async function documentsNamed(name: string, limit: number, signal: AbortSignal): Promise<Doc[]> {
  const r = await fetch(`/api/documents?state=ready&limit=${limit}&q=${encodeURIComponent(name)}`, { credentials: "same-origin", signal });
  if (!r.ok) await fail(r);
  return ((await r.json()) as { documents: Doc[] }).documents;
}

export interface Version {
  from: number; // seconds since 1970
  until?: number;
  path: string;
  stored: boolean;
}

/** What is kept of a document's past, newest first. */
export async function versions(id: string): Promise<Version[]> {
  const r = await call("GET", `/api/documents/${encodeURIComponent(id)}/versions`);
  return ((await r.json()) as { versions: Version[] }).versions;
}
