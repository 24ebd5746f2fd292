/** One way to the server: every error becomes an ApiError with one line, and a 401 asks for the key once. */
import { signal } from "@preact/signals";

import { stored, store } from "../state/storage";
import type { Folder, IndexInfo, Item, MapData, ModelInfo, SearchAnswer, SearchRequest } from "./types";

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
  ) {
    super(message);
  }
}

const STORE = "llave-key";

/** Kept for this tab alone: a key in localStorage would outlive the visit. */
export const apiKey = signal(stored("sessionStorage", STORE));

/** Where a path of the server's is: beside this page, which may lie under a path of its host, and never elsewhere. */
export const at = (path: string): string => new URL(`.${path}`, document.baseURI).href;

/** Set while the page waits for a key; the prompt resolves it with null if the user gives up. */
export const keyRequest = signal<{ again: boolean; answer: (key: string | null) => void } | null>(null);

let waiting: Promise<string | null> | null = null;

/** Requests that fail together share one prompt. */
function askForKey(again: boolean): Promise<string | null> {
  waiting ??= new Promise<string | null>((resolve) => {
    keyRequest.value = { again, answer: resolve };
  }).then((key) => {
    keyRequest.value = null;
    waiting = null;
    if (key !== null) {
      store("sessionStorage", STORE, key);
      apiKey.value = key;
    }
    return key;
  });
  return waiting;
}

/** A full queue or a model that still loads: the server says when to come back. */
const BUSY = new Set([429, 503]);
const ATTEMPTS = 4;
const LONGEST_PAUSE_S = 5;

function wait(seconds: number, abort?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    abort?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(abort.reason as Error);
    });
  });
}

async function errorOf(response: Response): Promise<ApiError> {
  let message = `The server answered ${response.status} ${response.statusText}`.trim();
  try {
    const body: unknown = await response.json();
    const told = (body as { error?: { message?: unknown } } | null)?.error?.message;
    if (typeof told === "string" && told !== "") message = told;
  } catch {
    // Not JSON: a proxy between us and the server answered; its status has to do.
  }
  return new ApiError(message, response.status);
}

/** The response to a request that carries the key; throws ApiError, or AbortError when `signal` fires. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const key = apiKey.value;
    const headers = new Headers(init.headers);
    if (key !== null) headers.set("Authorization", `Bearer ${key}`);
    let response: Response;
    try {
      response = await fetch(at(path), { ...init, headers });
    } catch (error) {
      if (error instanceof DOMException && error.name === "AbortError") throw error;
      throw new ApiError(navigator.onLine ? "The server does not answer." : "This device is offline.", 0);
    }
    if (response.ok) return response;
    const pause = Number(response.headers.get("Retry-After"));
    if (BUSY.has(response.status) && pause > 0 && attempt < ATTEMPTS) {
      await wait(Math.min(pause, LONGEST_PAUSE_S), init.signal);
      continue;
    }
    if (response.status !== 401) throw await errorOf(response);
    // Another request may have got the key while this one was on its way.
    const got = key === apiKey.value ? await askForKey(key !== null) : apiKey.value;
    if (got === null) throw await errorOf(response);
    init.signal?.throwIfAborted();
  }
}

async function post<T>(path: string, body: unknown, abort?: AbortSignal): Promise<T> {
  const init: RequestInit = {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  };
  if (abort) init.signal = abort;
  return (await send(path, init)).json() as Promise<T>;
}

async function get<T>(path: string): Promise<T> {
  return (await send(path)).json() as Promise<T>;
}

export const fetchIndex = (): Promise<IndexInfo> => get("/v1/index");
export const fetchMap = (): Promise<MapData> => get("/v1/map");
export const fetchFolders = (under: string): Promise<{ data: Folder[]; left_out: number }> =>
  get(`/v1/folders?under=${encodeURIComponent(under)}`);
export const fetchModels = (): Promise<ModelInfo[]> => get<{ data: ModelInfo[] }>("/v1/models").then(({ data }) => data);
export const search = (body: SearchRequest, abort?: AbortSignal): Promise<SearchAnswer> =>
  post("/v1/search", body, abort);
/** The same of the index beside. */
export const searchBeside = (body: SearchRequest, abort?: AbortSignal): Promise<SearchAnswer> =>
  post("/v1/search?index=2", body, abort);
export const fetchItems = (ids: string[], abort?: AbortSignal): Promise<Item[]> =>
  post<{ data: Item[] }>("/v1/items", { ids }, abort).then(({ data }) => data);

/** A vector for each text or picture (a data: address). */
export async function embed(model: string, inputs: { text?: string; image?: string }[]): Promise<number[][]> {
  const body = { model, input: inputs, encoding_format: "float" };
  const answer = await post<{ data: { index: number; embedding: number[] }[] }>("/v1/embeddings", body);
  return answer.data.sort((a, b) => a.index - b.index).map(({ embedding }) => embedding);
}

export const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";
export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
