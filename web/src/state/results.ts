/** From the query to the results: debounced, one request at a time, a stale one aborted. */
import { effect, signal } from "@preact/signals";

import { fetchItems, isAbort, messageOf, search } from "../api/client";
import type { Histogram, Item, SearchRequest } from "../api/types";
import { follow, indexInfo } from "./index-info";
import { asks, query, selection, type Query } from "./query";

export const PAGE = 24;
const DEBOUNCE_MS = 250;
const SLOW_MS = 3000;

export interface Results {
  items: Item[];
  /** Items that pass the filter, or that were selected on the map. */
  count: number;
  /** Where the next page begins; not the number of items, for a selected one may be gone from the index. */
  next: number;
  histogram: Histogram | null;
  hint: string | null;
  tookMs: number | null;
  /** Milliseconds of each stage. */
  stages: Record<string, number>;
}

export const results = signal<Results | null>(null);
export const loading = signal<"no" | "first" | "more">("no");
export const slow = signal(false);
export const failure = signal<string | null>(null);

let abort: AbortController | null = null;
let timer = 0;

export function requestOf(asked: Query, offset: number): SearchRequest {
  const body: SearchRequest = { limit: PAGE, offset, histogram: offset === 0 && asks.peek() };
  if (asked.like !== null) body.id = asked.like;
  else {
    if (asked.text.trim() !== "") body.text = asked.text.trim();
    if (asked.image !== null) body.image = asked.image;
    if (body.text && body.image) body.weight = asked.weight;
    if (body.text && !body.image && asked.mode !== null) body.mode = asked.mode;
  }
  if (Object.keys(asked.filter).length > 0) body.filter = asked.filter;
  if (asked.sort !== null && !asks.peek()) body.sort = asked.sort;
  return body;
}

async function load(offset: number): Promise<void> {
  abort?.abort();
  const mine = new AbortController();
  abort = mine;
  loading.value = offset === 0 ? "first" : "more";
  failure.value = null;
  const patience = setTimeout(() => (slow.value = true), SLOW_MS);
  try {
    const page = await fetchPage(offset, mine.signal);
    // An item that has moved on while the index changed is not shown twice.
    const fresh = new Set(page.items.map(({ id }) => id));
    const before = offset === 0 ? [] : (results.peek()?.items ?? []).filter(({ id }) => !fresh.has(id));
    // The histogram of the first page holds for the pages after it.
    const kept = offset === 0 ? page.histogram : (results.peek()?.histogram ?? null);
    if (!mine.signal.aborted) results.value = { ...page, items: [...before, ...page.items], histogram: kept };
  } catch (error) {
    if (mine.signal.aborted || isAbort(error)) return;
    failure.value = messageOf(error);
    if (offset === 0) results.value = null;
  } finally {
    clearTimeout(patience);
    if (abort === mine) {
      loading.value = "no";
      slow.value = false;
    }
  }
}

async function fetchPage(offset: number, abort: AbortSignal): Promise<Results> {
  const chosen = selection.peek();
  if (chosen !== null) {
    const items = await fetchItems(chosen.slice(offset, offset + PAGE), abort);
    return { items, count: chosen.length, next: offset + PAGE, histogram: null, hint: null, tookMs: null, stages: {} };
  }
  const found = await search(requestOf(query.peek(), offset), abort);
  void follow(found.version);
  const { results: items, count, histogram, hint, stages } = found;
  return { items, count, next: offset + PAGE, histogram, hint, tookMs: found.took_ms, stages };
}

export const loadMore = (): void => void load(results.peek()?.next ?? 0);
export const retry = (): void => void load(0);

/** Nothing to show: what is on its way is of no use any more. */
function clear(): void {
  abort?.abort();
  abort = null;
  loading.value = "no";
  slow.value = false;
  failure.value = null;
  results.value = null;
}

/** Runs for the life of the page. */
export function startSearch(): void {
  let last = "";
  let before = query.peek();
  effect(() => {
    const { view, ...asked } = query.value;
    const chosen = selection.value;
    // Pictures and texts are compared without the index; elsewhere it is browsed as long as nothing is asked.
    const ready = indexInfo.value.state === "ready" && (view !== "compare" || chosen !== null || asks.value);
    // A change of view alone asks for nothing new.
    const key = JSON.stringify([asked, chosen, ready]);
    if (key === last) return;
    last = key;
    clearTimeout(timer);
    if (!ready) return clear();
    // Typing and sliding go on; a click is one decision.
    const typed = asked.text !== before.text && asked.text !== "";
    const slid = asked.weight !== null && before.weight !== null && asked.weight !== before.weight;
    before = query.value;
    if (!typed && !slid) return void load(0);
    timer = setTimeout(() => void load(0), DEBOUNCE_MS);
  });
}
