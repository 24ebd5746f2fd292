/** A browser that keeps no site data throws at the mere mention of a storage: nothing is remembered then. */

type Storage = "localStorage" | "sessionStorage";

export function stored(storage: Storage, name: string): string | null {
  try {
    return window[storage].getItem(name);
  } catch {
    return null;
  }
}

export function store(storage: Storage, name: string, value: string): void {
  try {
    window[storage].setItem(name, value);
  } catch {
    // Full or blocked: it holds for this visit.
  }
}
