/** What the server answers; the API of `llave serve` as TypeScript sees it. */

export type Kind = "image" | "text" | "video" | "page";
export type Value = string | number | boolean;

export interface Item {
  id: string;
  /** Cosine with the query; null where there was none. */
  score: number | null;
  kind: Kind;
  text: string;
  path: string;
  fields: Record<string, Value | null>;
  thumbnail: string | null;
}

export interface Field {
  name: string;
  type: "string" | "number" | "boolean";
  values?: { value: Value; count: number }[] | null;
  low?: number | null;
  high?: number | null;
}

export interface IndexInfo {
  model: string;
  count: number;
  dimension: number;
  kinds: Partial<Record<Kind, number>>;
  fields: Field[];
  map: boolean;
  gallery: boolean;
}

/** A list means "one of these"; an object bounds a number. */
export type Condition = Value[] | { ">="?: number; "<="?: number };
export type Filter = Record<string, Condition>;

export interface SearchRequest {
  text?: string;
  image?: string;
  id?: string;
  /** The picture's share; null lets the model fuse both. */
  weight?: number | null;
  filter?: Filter;
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
  took_ms: number;
}

export interface MapData {
  ids: string[];
  x: number[];
  y: number[];
  kinds: string[];
  kind: number[];
  fields: Record<string, { values: string[]; codes: number[] }>;
}

export interface ModelInfo {
  id: string;
  dimension?: number;
  modalities?: string[];
}
