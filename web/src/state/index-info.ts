/** What the server has: an index, none, or no answer yet. */
import { signal } from "@preact/signals";

import { ApiError, fetchIndex, fetchItems, fetchMap, messageOf, search } from "../api/client";
import type { IndexInfo, Item, MapData } from "../api/types";

export type IndexState =
  | { state: "loading" }
  | { state: "ready"; info: IndexInfo }
  | { state: "none"; message: string }
  | { state: "failed"; message: string };

export const indexInfo = signal<IndexState>({ state: "loading" });

export const info = (): IndexInfo | null => (indexInfo.value.state === "ready" ? indexInfo.value.info : null);

export async function loadIndex(): Promise<void> {
  indexInfo.value = { state: "loading" };
  try {
    indexInfo.value = { state: "ready", info: await fetchIndex() };
  } catch (error) {
    const state = error instanceof ApiError && error.status === 404 ? "none" : "failed";
    indexInfo.value = { state, message: messageOf(error) };
  }
}

let map: Promise<MapData> | null = null;

/** The map once; a failed attempt may be repeated. */
export function loadMap(): Promise<MapData> {
  map ??= fetchMap().catch((error: unknown) => {
    map = null;
    throw error;
  });
  return map;
}

/** The map of more items is too much to load before anyone has asked for it. */
const SMALL = 20_000;

/** A few items from all over the index, for a page on which nothing has been asked yet; else what answers `hint`. */
export async function sampleItems(count: number, hint: string): Promise<Item[]> {
  const index = info();
  if (index?.map !== true || index.count > SMALL) {
    return (await search({ text: hint, limit: count, offset: 0, histogram: false })).results;
  }
  const { ids } = await loadMap();
  // A fixed stride instead of chance: the same index greets with the same pictures.
  const stride = Math.max(1, Math.floor(ids.length / count));
  return fetchItems(ids.filter((_, at) => at % stride === 0).slice(0, count));
}
