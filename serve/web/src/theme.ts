// Light, dark, or as the system has it. Kept in this browser only.

const KEY = "carrel-theme";
const order = ["auto", "light", "dark"] as const;
export type Theme = (typeof order)[number];

export function theme(): Theme {
  const t = localStorage.getItem(KEY);
  return t === "light" || t === "dark" ? t : "auto";
}

export function applyTheme(t: Theme = theme()): void {
  if (t === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = t;
}

export function nextTheme(): Theme {
  const t = order[(order.indexOf(theme()) + 1) % order.length] ?? "auto";
  localStorage.setItem(KEY, t);
  applyTheme(t);
  return t;
}
