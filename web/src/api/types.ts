/** What the server answers; the API of `llave serve` as TypeScript sees it. */

export type Kind = "image" | "text" | "video" | "audio" | "page";
export type Value = string | number | boolean;
/** A number, or a date in ISO form. */
export type Bound = number | string;

export interface Item {
  id: string;
  /** Of the last stage; null where there was no query. */
  score: number | null;
  /** Of each stage: the cosine of "vector", the BM25 of "words", "rerank". */
  scores: Record<string, number>;
  /** Its place after each stage, from 1. */
  ranks: Record<string, number>;
  kind: Kind;
  text: string;
  path: string;
  fields: Record<string, Value | null>;
  /** Addresses of its pictures, or of its sound; other ones when the content is another. */
  thumbnail: string | null;
  content: string | null;
}

export interface Field {
  name: string;
  type: "string" | "integer" | "number" | "date" | "boolean";
  values?: { value: Value; count: number }[] | null;
  /** The range of numbers and dates. */
  low?: Bound | null;
  high?: Bound | null;
}

export type Mode = "vector" | "words" | "hybrid";

export interface IndexInfo {
  model: string;
  count: number;
  dimension: number;
  kinds: Partial<Record<Kind, number>>;
  fields: Field[];
  /** Queries to begin with: what several items say. */
  suggestions: string[];
  map: boolean;
  gallery: boolean;
  /** The model of a second index, which is asked beside this one. */
  beside: string | null;
  /** Whether a text is found by its words, too. */
  words: boolean;
  /** The stages of a search that says nothing of them. */
  pipeline: { mode: Mode; weight: number; rerank: boolean; top: number; mmr: number; one_per: string };
  /** Another one when anything in the index has changed. */
  version: string;
}

/**
 * A list means "one of these"; an object bounds a number or a date, or says what a text is like ("%harbour%") or begins
 * with.
 */
export type Condition = Value[] | { ">="?: Bound; "<="?: Bound; ilike?: string; starts?: string };
export type Filter = Record<string, Condition>;

export interface SearchRequest {
  text?: string;
  image?: string;
  id?: string;
  /** The picture's share; null lets the model fuse both. */
  weight?: number | null;
  /** How a text is compared; left out, the index's own way. */
  mode?: Mode;
  filter?: Filter;
  /** A field, or "-field" for the highest first; where there is no query. */
  sort?: string;
  /** Of a random order in its place. */
  seed?: number;
  limit: number;
  offset: number;
  histogram: boolean;
}

export interface Histogram {
  edges: number[];
  counts: number[];
}

export interface SearchAnswer {
  results: Item[];
  histogram: Histogram | null;
  count: number;
  version: string;
  /** Milliseconds of each stage. */
  stages: Record<string, number>;
  /** Words near to one of the filter that no item has. */
  hint: string | null;
  took_ms: number;
}

export interface Folder {
  name: string;
  /** With a slash at its end. */
  path: string;
  /** Of items in it and below. */
  count: number;
  /** Whether there are folders in it. */
  folders: boolean;
}

export interface MapData {
  ids: string[];
  x: number[];
  y: number[];
  kinds: string[];
  kind: number[];
  /** The most frequent values first; a code of -1 is another value or none. */
  fields: Record<string, { values: (string | boolean)[]; codes: number[] }>;
  /** Dates are seconds since 1970. */
  numbers: Record<string, { type: string; values: (number | null)[] }>;
}

export interface ModelInfo {
  id: string;
  dimension?: number;
  modalities?: string[];
}
