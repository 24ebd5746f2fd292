/** What is asked for: one immutable value, so that a history entry is a copy of it. */
import { computed, signal } from "@preact/signals";

import type { Filter, Mode } from "../api/types";

const MODES: Mode[] = ["vector", "words", "hybrid"];

export type View = "search" | "map" | "compare" | "beside";
const VIEWS: View[] = ["map", "compare", "beside"];

export interface Query {
  text: string;
  /** A picture as a data: address. */
  image: string | null;
  /** "More like this": the id of an item. */
  like: string | null;
  /** The picture's share where there is a text too; null lets the model fuse them. */
  weight: number | null;
  /** How a text is compared; null is the index's own way. */
  mode: Mode | null;
  filter: Filter;
  /** The order where there is nothing to rank by: a field, or "-field" for the highest first; null is by path. */
  sort: string | null;
  /** Of a random order in its place. */
  seed: number | null;
  /** The order of what a query has found, likewise; null is the best first. */
  arrange: string | null;
  view: View;
}

export const EMPTY: Query = {
  text: "",
  image: null,
  like: null,
  weight: null,
  mode: null,
  filter: {},
  sort: null,
  seed: null,
  arrange: null,
  view: "search",
};

export const query = signal<Query>(EMPTY);

/** Whether there is anything to rank by. */
export const asks = computed(() => {
  const { text, image, like } = query.value;
  return text.trim() !== "" || image !== null || like !== null;
});

/** Ids chosen on the map; they take the gallery's place while they are set. */
export const selection = signal<string[] | null>(null);

/** The last change was typing: the next keystroke belongs to the same history entry. */
let typing = false;

/** Changes the query; a change by typing replaces the entry that typing began. */
export function ask(change: Partial<Query>, how: "step" | "typing" | "quiet" = "step"): void {
  const next = { ...query.peek(), ...change };
  if (Object.keys(change).some((part) => part !== "view")) selection.value = null;
  query.value = next;
  const replace = how === "quiet" || (how === "typing" && typing);
  typing = how === "typing";
  remember(next, replace);
}

/** A text or a picture ends "more like this". */
export const askText = (text: string): void => ask({ text, like: null }, "typing");
export const askImage = (image: string | null): void => ask({ image, like: null });
export const askLike = (id: string): void => ask({ like: id, text: "", image: null });

export function setCondition(name: string, condition: Filter[string] | null): void {
  const filter = { ...query.peek().filter };
  if (condition === null) delete filter[name];
  else filter[name] = condition;
  ask({ filter });
}

/** "#q=red+umbrella&f=…": everything but the picture, which no address can hold. */
export function toHash({ text, like, weight, mode, filter, sort, seed, arrange, view }: Query): string {
  const parts = new URLSearchParams();
  if (view !== "search") parts.set("view", view);
  if (text !== "") parts.set("q", text);
  if (like !== null) parts.set("like", like);
  if (weight !== null) parts.set("w", String(weight));
  if (mode !== null) parts.set("m", mode);
  if (Object.keys(filter).length > 0) parts.set("f", JSON.stringify(filter));
  if (sort !== null) parts.set("sort", sort);
  if (seed !== null) parts.set("seed", String(seed));
  if (arrange !== null) parts.set("by", arrange);
  const hash = parts.toString();
  return hash === "" ? "" : `#${hash}`;
}

export function fromHash(hash: string): Query {
  const parts = new URLSearchParams(hash.replace(/^#/, ""));
  const view = parts.get("view");
  const weight = Number.parseFloat(parts.get("w") ?? "");
  return {
    ...EMPTY,
    text: parts.get("q") ?? "",
    like: parts.get("like"),
    weight: Number.isNaN(weight) ? null : Math.min(1, Math.max(0, weight)),
    mode: MODES.find((mode) => mode === parts.get("m")) ?? null,
    filter: parseFilter(parts.get("f")),
    sort: parts.get("sort"),
    seed: /^\d{1,9}$/.test(parts.get("seed") ?? "") ? Number(parts.get("seed")) : null,
    arrange: parts.get("by"),
    view: VIEWS.find((known) => known === view) ?? "search",
  };
}

/** An address may come from anywhere: what is no filter is left out, and the server checks the rest. */
function parseFilter(json: string | null): Filter {
  try {
    const parsed: unknown = JSON.parse(json ?? "{}");
    if (parsed === null || typeof parsed !== "object" || Array.isArray(parsed)) return {};
    return Object.fromEntries(
      Object.entries(parsed as Filter).filter(([, condition]) => condition !== null && typeof condition === "object"),
    );
  } catch {
    return {};
  }
}

/**
 * The picture goes into the entry's state, where back and reload find it. A browser bounds an entry's state, and how
 * many entries a page may write in a while: the search goes on without them.
 */
function remember(next: Query, replace: boolean): void {
  const url = location.pathname + location.search + toHash(next);
  const write = replace ? history.replaceState.bind(history) : history.pushState.bind(history);
  for (const state of next.image === null ? [null] : [{ image: next.image }, null]) {
    try {
      return write(state, "", url);
    } catch {
      // The next one is smaller; after the last, the address stays as it is.
    }
  }
}

function restore(): void {
  typing = false;
  selection.value = null;
  const state = history.state as { image?: unknown } | null;
  const image = typeof state?.image === "string" ? state.image : null;
  query.value = { ...fromHash(location.hash), image };
}

/** Reads the address now and whenever the user goes back or forth. */
export function startHistory(): void {
  restore();
  addEventListener("popstate", restore);
}
