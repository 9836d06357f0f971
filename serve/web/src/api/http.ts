// How the page asks: one session cookie, one token against forged requests, errors in the server's own words.

/** An answer other than 2xx, in the server's own words. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
    readonly code = "",
  ) {
    super(message);
  }
}

export let csrf = "";

export function setCsrf(token: string): void {
  csrf = token;
}

export async function fail(r: Response): Promise<never> {
  let message = `${r.status} ${r.statusText}`;
  let code = "";
  try {
    const body = (await r.json()) as { error?: { message?: string; code?: string } };
    message = body.error?.message ?? message;
    code = body.error?.code ?? "";
  } catch {
    // not JSON: the status line has to do
  }
  throw new ApiError(r.status, message, code);
}

export async function call(method: string, path: string, body?: BodyInit, headers: Record<string, string> = {}) {
  if (method !== "GET" && csrf !== "") headers["X-CSRF-Token"] = csrf;
  let r: Response;
  try {
    r = await fetch(path, { method, body, headers, credentials: "same-origin" });
  } catch {
    throw new ApiError(0, "The appliance does not answer. Is it running?");
  }
  if (!r.ok) await fail(r);
  return r;
}

export async function post(path: string, body: object): Promise<Response> {
  return call("POST", path, JSON.stringify(body), { "Content-Type": "application/json" });
}

export const JSON_BODY = { "Content-Type": "application/json" };
