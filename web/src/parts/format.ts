/** How numbers, names and items read. */
import type { Condition, Item, Value } from "../api/types";

/** The page is in English, so its numbers are too. */
const whole = new Intl.NumberFormat("en-GB");

export const count = (n: number): string => whole.format(n);
export const score = (cosine: number): string => cosine.toFixed(3).replace("-", "−");
export const plural = (n: number, one: string, many = `${one}s`): string => `${count(n)} ${n === 1 ? one : many}`;

/** "vector 3.1 ms, rerank 40 ms" */
export const stagesText = (stages: Record<string, number>): string =>
  Object.entries(stages)
    .map(([stage, ms]) => `${stage} ${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`)
    .join(", ");

/** An item's way through the stages: "vector 5 (0.412) → words 1 (12.300) → hybrid 1". */
export const wayText = ({ ranks, scores }: Item): string =>
  Object.entries(ranks)
    .map(([stage, place]) => {
      const own = scores[stage];
      return `${stage} ${count(place)}` + (own === undefined ? "" : ` (${score(own)})`);
    })
    .join(" → ");

export const fileName = (path: string): string => path.split("/").at(-1) ?? path;

/** Fields that name an item, as people's tables call them; an index appends "_" to names that are its own. */
const NAMING = ["title", "name", "name_", "caption", "label"];

function named({ fields }: Item): string {
  const name = NAMING.map((field) => fields[field]).find((value) => typeof value === "string" && value.trim() !== "");
  return typeof name === "string" ? name.trim() : "";
}

/** What an item is called: its text, else a field that names it, else its file. */
export const titleOf = (item: Item): string =>
  // A page's text is what its picture shows.
  (item.kind !== "page" && item.text.trim()) || named(item) || fileName(item.path) || item.id;

/** The alternative text of its picture. */
export const altOf = (item: Item): string => item.text.trim() || named(item) || item.path || item.kind;

export const valueText = (value: Value | null): string =>
  value === null ? "–" : typeof value === "boolean" ? (value ? "yes" : "no") : String(value);

/** Between the words and the pattern that texts match which contain them. */
export const containing = (words: string): string => `%${words}%`;
export const containedIn = (pattern: string): string => pattern.replace(/^%|%$/g, "");

export function conditionText(name: string, condition: Condition): string {
  if (Array.isArray(condition)) return `${name}: ${condition.map(valueText).join(", ")}`;
  if (condition.ilike !== undefined) return `${name} contains “${containedIn(condition.ilike)}”`;
  if (condition.starts !== undefined) return `folder: ${condition.starts.replace(/\/$/, "")}`;
  const { ">=": low, "<=": high } = condition;
  if (low !== undefined && high !== undefined) return `${name}: ${low}–${high}`;
  return low !== undefined ? `${name} ≥ ${low}` : `${name} ≤ ${high ?? "…"}`;
}
