/**
 * Colours for groups and for numbers. Those of groups are told apart in the three common forms of colour blindness and
 * stand out from the map's ground; those of numbers go from faint to strong, so that their lightness alone says it. A
 * test computes both (tests/serving/test_palette.py).
 */
import type { Condition, MapData, Value } from "../api/types";
import { MOST_COLOURS } from "./renderer";

export type Theme = "light" | "dark";

const OTHER: Record<Theme, string> = { light: "#b3b8c2", dark: "#5d6470" };
const GROUPS: Record<Theme, string[]> = {
  light: ["#183d9c", "#ad3713", "#09765a", "#d15f9f", "#0b8ffc", "#849931", "#824aca", "#702562"],
  dark: ["#8bbff9", "#b75f2c", "#8ea70c", "#f3a48e", "#9862e4", "#19fee0", "#eae416", "#1a96a0"],
};
const RAMPS: Record<Theme, string[]> = {
  light: ["#b9d7a0", "#62b5a2", "#2f86a8", "#3a4f9f", "#3d0f5e"],
  dark: ["#4a3f93", "#3d73bd", "#3fa9b5", "#7fd39a", "#f6f3a0"],
};
/** The last colour is that of points without a number. */
const STEPS = MOST_COLOURS - 1;

export interface Group {
  /** What a filter takes; null is all other values, or none. */
  value: Value | null;
  name: string;
  colour: string;
  /** Places of its points in the map's lists. */
  members: number[];
}

/** A number's or a date's spread over the points. */
export interface Scale {
  type: string;
  values: (number | null)[];
  low: number;
  high: number;
  /** Points in each of as many equal parts as there are colours. */
  counts: number[];
  colours: string[];
}

/** How the points are told apart: the largest groups in a colour each and the rest in grey, or a number by a ramp. */
export interface Colouring {
  groups: Group[];
  scale: Scale | null;
  /** Per point, its place in `colours`. */
  codes: Uint8Array<ArrayBuffer>;
  colours: number[][];
}

const rgb = (hex: string): number[] => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255);
const hex = (colour: number[]): string =>
  `#${colour.map((part) => Math.round(part * 255).toString(16).padStart(2, "0")).join("")}`;

/** So many colours at equal distances on a ramp. */
function steps(ramp: string[], many: number): string[] {
  const stops = ramp.map(rgb);
  return Array.from({ length: many }, (_, step) => {
    const place = (step / (many - 1)) * (stops.length - 1);
    const at = Math.min(stops.length - 2, Math.floor(place));
    const [from, to] = [stops[at] ?? [], stops[at + 1] ?? []];
    return hex(from.map((part, i) => part + (place - at) * ((to[i] ?? 0) - part)));
  });
}

const padded = (colours: string[], theme: Theme): number[][] =>
  Array.from({ length: MOST_COLOURS }, (_, at) => rgb(colours[at] ?? OTHER[theme]));

export function colouring(data: MapData, by: string, theme: Theme): Colouring {
  const number = data.numbers[by];
  return number ? byNumber(number, theme) : byGroup(data, by, theme);
}

function byGroup(data: MapData, by: string, theme: Theme): Colouring {
  const field = data.fields[by];
  const values: Value[] = field?.values ?? data.kinds;
  const places = field?.codes ?? data.kind;
  const palette = GROUPS[theme];
  const members = values.map((): number[] => []);
  const rest: number[] = [];
  places.forEach((place, i) => (members[place] ?? rest).push(i));
  const ranked = values
    .map((value, at) => ({ value, name: nameOf(value), members: members[at] ?? [] }))
    .filter((group) => group.members.length > 0)
    .sort((a, b) => b.members.length - a.members.length);
  const groups: Group[] = ranked.slice(0, palette.length).map((group, at) => ({ ...group, colour: palette[at] ?? "" }));
  for (const group of ranked.slice(palette.length)) for (const i of group.members) rest.push(i);
  if (rest.length > 0) groups.push({ value: null, name: "other or none", colour: OTHER[theme], members: rest });
  const codes = new Uint8Array(data.ids.length);
  groups.forEach((group, code) => group.members.forEach((i) => (codes[i] = code)));
  return { groups, scale: null, codes, colours: padded(groups.map(({ colour }) => colour), theme) };
}

const nameOf = (value: Value): string => (typeof value === "boolean" ? (value ? "yes" : "no") : String(value));

function byNumber({ type, values }: MapData["numbers"][string], theme: Theme): Colouring {
  const there = values.filter((value) => value !== null).sort((a, b) => a - b);
  const [low, high] = [there[0] ?? 0, there.at(-1) ?? 0];
  const counts = new Array<number>(STEPS).fill(0);
  const codes = Uint8Array.from(values, (value) => {
    if (value === null) return STEPS;
    const step = Math.min(STEPS - 1, Math.floor(((value - low) / (high - low || 1)) * STEPS));
    counts[step] = (counts[step] ?? 0) + 1;
    return step;
  });
  const colours = steps(RAMPS[theme], STEPS);
  return { groups: [], scale: { type, values, low, high, counts, colours }, codes, colours: padded(colours, theme) };
}

/** The first field that tells the points apart in a number of colours that one can still name. */
export function defaultField(data: MapData): string {
  const few = GROUPS.light.length + 4;
  return Object.entries(data.fields).find(([, { values }]) => values.length >= 2 && values.length <= few)?.[0] ?? "kind";
}

/** Whether a point passes what is known here of the filters; null if nothing of them is. */
export function passing(data: MapData, filter: Record<string, Condition>): ((i: number) => boolean) | null {
  const tests = Object.entries(filter).flatMap(([name, condition]) => {
    const coded = name === "kind" ? { values: data.kinds, codes: data.kind } : data.fields[name];
    const number = data.numbers[name]?.values;
    if (coded && Array.isArray(condition)) {
      const wanted = new Set(condition.map((value) => (coded.values as Value[]).indexOf(value)));
      return [(i: number) => coded.codes[i] !== -1 && wanted.has(coded.codes[i] ?? -1)];
    }
    if (!number || Array.isArray(condition)) return [];
    const [low, high] = [edge(condition[">="], -Infinity, false), edge(condition["<="], Infinity, true)];
    return [
      (i: number) => {
        const value = number[i];
        return value != null && value >= low && value <= high;
      },
    ];
  });
  return tests.length === 0 ? null : (i) => tests.every((test) => test(i));
}

const DAY = 86_400;

/** A bound in the map's numbers; a day ends when the next begins. */
function edge(bound: number | string | undefined, open: number, ends: boolean): number {
  if (bound === undefined) return open;
  if (typeof bound === "number") return bound;
  const seconds = Date.parse(bound) / 1000;
  return Number.isNaN(seconds) ? open : seconds + (ends && bound.length === 10 ? DAY - 0.001 : 0);
}
