/** Two rankings of the same items. */

/** The place of each id, from 0. */
export const placesOf = (ids: readonly string[]): Map<string, number> => new Map(ids.map((id, place) => [id, place]));

/** How many of the first `depth` of one are among the first `depth` of the other. */
export function overlap(one: readonly string[], other: readonly string[], depth: number): number {
  const there = new Set(other.slice(0, depth));
  return one.slice(0, depth).filter((id) => there.has(id)).length;
}
