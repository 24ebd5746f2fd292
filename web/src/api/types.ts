/** What the server answers; the API of `llave serve` as TypeScript sees it. */

export type Kind = "image" | "text" | "video" | "audio" | "page";
export type Value = string | number | boolean;
/** A number, or a date in ISO form. */
export type Bound = number | string;

export interface Item {
  id: string;
  /** Cosine with the query; null where there was none. */
  score: number | null;
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

export interface IndexInfo {
  model: string;
  count: number;
  dimension: number;
  kinds: Partial<Record<Kind, number>>;
  fields: Field[];
  map: boolean;
  gallery: boolean;
  /** Another one when anything in the index has changed. */
  version: string;
}

/** A list means "one of these"; an object bounds a number or a date, or says what a text is like ("%harbour%"). */
export type Condition = Value[] | { ">="?: Bound; "<="?: Bound; ilike?: string };
export type Filter = Record<string, Condition>;

export interface SearchRequest {
  text?: string;
  image?: string;
  id?: string;
  /** The picture's share; null lets the model fuse both. */
  weight?: number | null;
  filter?: Filter;
  /** A field, or "-field" for the highest first; where there is no query. */
  sort?: string;
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
  /** Words near to one of the filter that no item has. */
  hint: string | null;
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
