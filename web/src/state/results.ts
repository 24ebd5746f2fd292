/** From the query to the results: debounced, one request at a time, a stale one aborted. */
import { effect, signal } from "@preact/signals";

import { fetchItems, isAbort, messageOf, search } from "../api/client";
import type { Histogram, Item, SearchRequest } from "../api/types";
import { arranged } from "../parts/arranged";
import { follow, indexInfo, info } from "./index-info";
import { asks, query, selection, type Query } from "./query";

/** Of a request; a screen holds fewer. */
export const PAGE = 60;
/** Items at a time. What is scrolled far out of view is let go, and asked for again when it comes back. */
const HELD = 5 * PAGE;
/** The server gives no more of what a query finds. */
const DEEPEST = Math.floor(10_000 / PAGE) * PAGE + PAGE;
/** Of so many of the best, another order is made. */
export const BEST = 200;
const DEBOUNCE_MS = 250;
const SLOW_MS = 3000;

export interface Results {
  /** Those around what is in view, one after another. */
  items: Item[];
  /** The place of the first of them. */
  start: number;
  /** Items that pass the filter, or that were selected on the map. */
  count: number;
  /** Those of them that one can scroll to. */
  total: number;
  histogram: Histogram | null;
  /** The best ones, whatever is in view. */
  best: Item[];
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
  if (asks.peek()) {
    if (asked.arrange !== null) body.limit = BEST;
  } else if (asked.seed !== null) body.seed = asked.seed;
  else if (asked.sort !== null) body.sort = asked.sort;
  return body;
}

async function load(offset: number, how: "first" | "more"): Promise<void> {
  abort?.abort();
  const mine = new AbortController();
  abort = mine;
  loading.value = how;
  failure.value = null;
  const patience = setTimeout(() => (slow.value = true), SLOW_MS);
  try {
    const page = await fetchPage(offset, mine.signal);
    if (mine.signal.aborted) return;
    const before = results.peek();
    results.value = how === "first" || before === null ? page : joined(before, page);
  } catch (error) {
    if (mine.signal.aborted || isAbort(error)) return;
    failure.value = messageOf(error);
    if (how === "first") results.value = null;
  } finally {
    clearTimeout(patience);
    if (abort === mine) {
      loading.value = "no";
      slow.value = false;
    }
  }
}

/** What is held with a page more, if it lies beside it; what is farthest from that page goes. */
function joined(before: Results, page: Results): Results {
  const { histogram, best } = before; // of the first page
  const end = before.start + before.items.length;
  // An item that has moved on while the index changed is not shown twice.
  const fresh = new Set(page.items.map(({ id }) => id));
  const old = before.items.filter(({ id }) => !fresh.has(id));
  if (page.start === end) {
    const items = [...old, ...page.items];
    const gone = Math.max(0, items.length - HELD);
    return { ...page, items: items.slice(gone), start: end - old.length + gone, histogram, best };
  }
  if (page.start + PAGE === before.start) {
    return { ...page, items: [...page.items, ...old].slice(0, HELD), histogram, best };
  }
  return { ...page, histogram, best };
}

async function fetchPage(offset: number, abort: AbortSignal): Promise<Results> {
  const chosen = selection.peek();
  const about = { start: offset, histogram: null, hint: null, tookMs: null, stages: {} };
  if (chosen !== null) {
    const items = await fetchItems(chosen.slice(offset, offset + PAGE), abort);
    return { ...about, items, count: chosen.length, total: chosen.length, best: items };
  }
  const asked = query.peek();
  const found = await search(requestOf(asked, offset), abort);
  void follow(found.version);
  const { results: best, count, histogram, hint, stages } = found;
  const own = asks.peek() && asked.arrange !== null;
  const items = own ? arranged(best, asked.arrange) : best;
  const total = own ? items.length : Math.min(count, asks.peek() ? DEEPEST : count);
  return { ...about, items, best, count, total, histogram, hint, stages, tookMs: found.took_ms };
}

/** Items from one place to another come into view: what is not held of them is asked for. */
export function reach(first: number, last: number): void {
  const found = results.peek();
  if (found === null || loading.peek() !== "no" || failure.peek() !== null) return;
  const end = found.start + found.items.length;
  const to = Math.min(last, found.total);
  if (first >= found.start && to <= end) return;
  if (first > end || to < found.start) return void load(Math.floor(Math.max(0, first) / PAGE) * PAGE, "more");
  if (to > end) return void load(end, "more");
  void load(Math.max(0, found.start - PAGE), "more");
}

/** Tries again what has failed. */
export function retry(): void {
  if (results.peek() === null) return void load(0, "first");
  failure.value = null; // the gallery asks for what it lacks
}

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
    const beside = view === "beside" && info()?.beside != null;
    const shown = !beside && (view !== "compare" || chosen !== null || asks.value);
    const ready = indexInfo.value.state === "ready" && shown;
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
    if (!typed && !slid) return void load(0, "first");
    timer = setTimeout(() => void load(0, "first"), DEBOUNCE_MS);
  });
}
