/** Colours for groups: distinct for most kinds of colour vision, and legible on light and dark ground. */
import type { MapData } from "../api/types";
import { MOST_COLOURS } from "./renderer";

const OTHER = "#8b93a1";
const COLOURS = [
  "#3d7de0",
  "#e8863a",
  "#2fa06b",
  "#d6505f",
  "#8d6bd1",
  "#b58a2b",
  "#d76fb1",
  "#27a3b3",
  "#7f9b2c",
  "#a8674a",
  "#5b6ee8",
  "#c75bd0",
];

export interface Group {
  name: string;
  colour: string;
  /** Places of its points in the map's lists. */
  members: number[];
}

/** How the points are told apart: the largest groups in a colour each, the rest in grey. */
export interface Colouring {
  groups: Group[];
  /** Per point, its place in `colours`. */
  codes: Uint8Array<ArrayBuffer>;
  colours: number[][];
}

const rgb = (hex: string): number[] => [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16) / 255);

export function colouring(data: MapData, by: string): Colouring {
  const field = data.fields[by];
  const names = field?.values ?? data.kinds;
  const values = field?.codes ?? data.kind;
  const members = names.map((): number[] => []);
  const rest: number[] = [];
  values.forEach((value, i) => (members[value] ?? rest).push(i));
  const ranked = names
    .map((name, at) => ({ name: String(name), members: members[at] ?? [] }))
    .filter((group) => group.members.length > 0)
    .sort((a, b) => b.members.length - a.members.length);
  const groups: Group[] = ranked.slice(0, COLOURS.length).map((group, at) => ({ ...group, colour: COLOURS[at] ?? OTHER }));
  rest.push(...ranked.slice(COLOURS.length).flatMap((group) => group.members));
  if (rest.length > 0) groups.push({ name: "other or none", colour: OTHER, members: rest });
  const codes = new Uint8Array(data.ids.length);
  groups.forEach((group, code) => group.members.forEach((i) => (codes[i] = code)));
  const colours = groups.map(({ colour }) => rgb(colour));
  while (colours.length < MOST_COLOURS) colours.push(rgb(OTHER));
  return { groups, codes, colours };
}

/** The first field that tells the points apart in a number of colours that one can still name. */
export function defaultField(data: MapData): string {
  const fit = Object.entries(data.fields).find(([, { values }]) => values.length >= 2 && values.length <= COLOURS.length);
  return fit?.[0] ?? "kind";
}
