/** What the server has: an index, none, or no answer yet. */
import { signal } from "@preact/signals";

import { ApiError, fetchIndex, fetchItems, fetchMap, messageOf } from "../api/client";
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

/** A few items from all over the index, for a page on which nothing has been asked yet. */
export async function sampleItems(count: number): Promise<Item[]> {
  if (info()?.map !== true) return [];
  const { ids } = await loadMap();
  // A fixed stride instead of chance: the same index greets with the same pictures.
  const stride = Math.max(1, Math.floor(ids.length / count));
  return fetchItems(ids.filter((_, at) => at % stride === 0).slice(0, count));
}
