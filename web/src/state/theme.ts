/** Light and dark: the system's choice until the user makes one. */
import { effect, signal } from "@preact/signals";

import { store, stored } from "./storage";

type Theme = "light" | "dark";

const STORE = "llave-theme";
const system = matchMedia("(prefers-color-scheme: dark)");
const before = stored("localStorage", STORE);

const chosen = signal<Theme | null>(before === "light" || before === "dark" ? before : null);
const preferred = signal<Theme>(system.matches ? "dark" : "light");

export const theme = (): Theme => chosen.value ?? preferred.value;

export function toggleTheme(): void {
  const next = theme() === "dark" ? "light" : "dark";
  chosen.value = next;
  store("localStorage", STORE, next);
}

export function startTheme(): void {
  system.addEventListener("change", () => (preferred.value = system.matches ? "dark" : "light"));
  effect(() => {
    document.documentElement.dataset.theme = theme();
  });
}
