/** Items in the order of a field. */
import type { Item } from "../api/types";

/** By a field, or "-field" for the highest first; those without it come last, and equals stay as they were. */
export function arranged(items: Item[], by: string | null): Item[] {
  if (by === null) return items;
  const down = by.startsWith("-") ? -1 : 1;
  const name = by.replace(/^-/, "");
  return [...items].sort((one, other) => {
    const [a, b] = [one.fields[name] ?? null, other.fields[name] ?? null];
    if (a === null || b === null) return Number(a === null) - Number(b === null);
    return a === b ? 0 : a < b ? -down : down;
  });
}
