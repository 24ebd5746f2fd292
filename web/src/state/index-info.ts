/** What the server has: an index, none, or no answer yet. */
import { signal } from "@preact/signals";

import { ApiError, fetchIndex, fetchMap, messageOf } from "../api/client";
import type { IndexInfo, MapData } from "../api/types";

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

/** Whoever answers says of which version of the index: what is shown of it follows, without a sign of loading. */
export async function follow(version: string): Promise<void> {
  if (info() === null || info()?.version === version) return;
  try {
    indexInfo.value = { state: "ready", info: await fetchIndex() };
  } catch {
    // What is shown is a little older; the next answer tries again.
  }
}

let map: { version: string; data: Promise<MapData> } | null = null;

/** The map of a version once; a failed attempt may be repeated. */
export function loadMap(version: string): Promise<MapData> {
  if (map?.version !== version) map = { version, data: fetchMap() };
  return map.data.catch((error: unknown) => {
    map = null;
    throw error;
  });
}
