// What a view does when something it asked for fails: it says so in its own place, or shows the way in again.

import { ApiError } from "./api";

export async function attempt(problem: HTMLElement, onSignedOut: () => void, act: () => Promise<void>): Promise<void> {
  problem.hidden = true;
  try {
    await act();
  } catch (e) {
    if (e instanceof ApiError && e.status === 401) return onSignedOut();
    problem.textContent = (e as Error).message;
    problem.hidden = false;
  }
}
