/** Which fields of an index tell groups of items apart, and which only name them. */
import type { Field } from "../api/types";

/** The server lists so many values of a field, the most frequent ones. */
const MOST_LISTED = 50;

export const isCut = (values: readonly unknown[]): boolean => values.length >= MOST_LISTED;

/** Few values, or frequent ones: something to filter by, and not the name of a single item. */
export function groups({ type, values }: Field): boolean {
  if (type !== "string" || !values) return true;
  const items = values.reduce((sum, { count }) => sum + count, 0);
  return isCut(values) ? items >= 10 * values.length : items >= 1.5 * values.length;
}
