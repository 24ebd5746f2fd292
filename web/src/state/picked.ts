/** Items chosen in the gallery, to be taken away or looked at together. They stay chosen while one searches on. */
import { signal } from "@preact/signals";

import { search } from "../api/client";
import type { Item } from "../api/types";
import { query, selection } from "./query";
import { BEST, requestOf, results } from "./results";

/** The server exports so many at a time. */
export const MOST_PICKED = 10_000;

export const picked = signal<ReadonlySet<string>>(new Set());

/** The place from which a range reaches. */
let anchor = 0;

export function togglePicked(id: string, place: number): void {
  const next = new Set(picked.peek());
  if (!next.delete(id) && next.size < MOST_PICKED) next.add(id);
  picked.value = next;
  anchor = place;
}

/** From the item that was chosen last to this one, as far as they are here. */
export function pickTo(place: number, items: Item[], start: number): void {
  const [from, to] = [Math.min(anchor, place) - start, Math.max(anchor, place) - start];
  const range = items.slice(Math.max(0, from), to + 1).map(({ id }) => id);
  picked.value = new Set([...picked.peek(), ...range].slice(0, MOST_PICKED));
}

/** Where a range begins, unless something was chosen there before. */
export function pickFrom(id: string, place: number): void {
  if (!picked.peek().has(id)) togglePicked(id, place);
}

export const clearPicked = (): void => void (picked.value = new Set());

/** Everything that the query, the filters or the map have left, also what is not on the page. */
export async function pickAll(): Promise<void> {
  const asked = query.peek();
  const total = Math.min(results.peek()?.total ?? 0, MOST_PICKED);
  const chosen = selection.peek();
  const ids = chosen ? chosen.slice(0, total) : [];
  while (!chosen && ids.length < total) {
    const body = { ...requestOf(asked, ids.length), limit: BEST, histogram: false };
    const found = (await search(body)).results;
    if (found.length === 0) break; // the index has fewer by now
    ids.push(...found.map(({ id }) => id));
  }
  if (asked !== query.peek()) return; // another question meanwhile
  picked.value = new Set([...picked.peek(), ...ids].slice(0, MOST_PICKED));
}
