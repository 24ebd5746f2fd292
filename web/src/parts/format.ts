/** How numbers, names and items read. */
import type { Condition, Item, Value } from "../api/types";

/** The page is in English, so its numbers are too. */
const whole = new Intl.NumberFormat("en-GB");

export const count = (n: number): string => whole.format(n);
export const score = (cosine: number): string => cosine.toFixed(3).replace("-", "−");
export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;

export const fileName = (path: string): string => path.split("/").at(-1) ?? path;

/** What an item is called: its text, else its file. */
export const titleOf = ({ text, path, id }: Item): string => text.trim() || fileName(path) || id;

/** The alternative text of its picture. */
export const altOf = ({ text, path, kind }: Item): string => text.trim() || path || kind;

export const valueText = (value: Value | null): string =>
  value === null ? "–" : typeof value === "boolean" ? (value ? "yes" : "no") : String(value);

export function conditionText(name: string, condition: Condition): string {
  if (Array.isArray(condition)) return `${name}: ${condition.map(valueText).join(", ")}`;
  const { ">=": low, "<=": high } = condition;
  if (low !== undefined && high !== undefined) return `${name}: ${low}–${high}`;
  return low !== undefined ? `${name} ≥ ${low}` : `${name} ≤ ${high ?? "…"}`;
}
