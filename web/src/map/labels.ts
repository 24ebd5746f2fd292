/**
 * Names on the map: in each cell of a grid, the value that most of its points have. The grid is finer the closer one
 * looks, so that names appear as one zooms in; of two that would lie on one another the larger one stands.
 */
import type { MapData } from "../api/types";
import { type Camera, type Size, toPixel } from "./camera";
import type { Cloud } from "./points";

export interface Label {
  text: string;
  /** In the map's units. */
  x: number;
  y: number;
  /** Points of that value in the cell. */
  count: number;
}

export interface Placed {
  text: string;
  left: number;
  top: number;
}

/** Cells along the whole map, at zoom 1. */
const CELLS = 5;
/** A value names a cell if so much of it has it. */
const SHARE = 0.4;
const MOST = 40;
const HEIGHT = 20;
const PER_LETTER = 7.2;

export const levelOf = ({ zoom }: Camera): number => Math.max(0, Math.min(7, Math.round(Math.log2(zoom))));

/** Fields that can name: those of texts, the finest first. */
export function naming(data: MapData): string[] {
  return Object.entries(data.fields)
    .filter(([, { values }]) => values.length > 1 && typeof values[0] === "string")
    .sort(([, a], [, b]) => b.values.length - a.values.length)
    .map(([name]) => name);
}

/** All names of a level, the largest first. Where several fields may name, a cell has the finest that fits it. */
export function labelsOf({ x, y }: Cloud, data: MapData, fields: string[], level: number): Label[] {
  const along = CELLS * 2 ** level;
  const cells = new Map<number, number[]>();
  for (let i = 0; i < x.length; i++) {
    const key = Math.floor(((x[i]! + 1) / 2) * along) * 4096 + Math.floor(((y[i]! + 1) / 2) * along);
    const cell = cells.get(key);
    if (cell) cell.push(i);
    else cells.set(key, [i]);
  }
  const least = Math.max(2, x.length / (along * along * 4));
  const labels: Label[] = [];
  for (const members of cells.values()) {
    if (members.length < least) continue;
    const found = fields.map((name) => most(data, name, members)).find((best) => best !== null);
    if (!found) continue;
    let [sumX, sumY] = [0, 0];
    for (const i of found.members) [sumX, sumY] = [sumX + x[i]!, sumY + y[i]!];
    const count = found.members.length;
    labels.push({ text: found.text, x: sumX / count, y: sumY / count, count });
  }
  return labels.sort((a, b) => b.count - a.count);
}

/** The value that a good part of a cell's points have. */
function most(data: MapData, name: string, members: number[]): { text: string; members: number[] } | null {
  const { values, codes } = data.fields[name] ?? { values: [], codes: [] };
  const counts = new Map<number, number>();
  let [best, many] = [-1, 1];
  for (const i of members) {
    const code = codes[i] ?? -1;
    if (code === -1) continue;
    const count = (counts.get(code) ?? 0) + 1;
    counts.set(code, count);
    if (count > many) [best, many] = [code, count];
  }
  if (best === -1 || many < SHARE * members.length) return null;
  return { text: String(values[best]), members: members.filter((i) => codes[i] === best) };
}

/** Where names stand in the view, none on another, and none twice close by. */
export function placed(labels: Label[], camera: Camera, size: Size): Placed[] {
  const taken: { left: number; right: number; top: number; bottom: number; text: string }[] = [];
  for (const label of labels) {
    if (taken.length === MOST) break;
    const [atX, atY] = toPixel(camera, size, [label.x, label.y]);
    if (atX < 0 || atX > size.width || atY < 0 || atY > size.height) continue;
    const half = (label.text.length * PER_LETTER) / 2 + 6;
    // At the edge it moves inwards.
    const px = Math.max(half, Math.min(size.width - half, atX));
    const py = Math.max(HEIGHT / 2, Math.min(size.height - HEIGHT / 2, atY));
    const box = { left: px - half, right: px + half, top: py - HEIGHT / 2, bottom: py + HEIGHT / 2, text: label.text };
    const near = (other: (typeof taken)[number]): boolean => {
      const apart = other.text === box.text ? 90 : 0;
      return (
        box.left - apart < other.right &&
        box.right + apart > other.left &&
        box.top - apart < other.bottom &&
        box.bottom + apart > other.top
      );
    };
    if (!taken.some(near)) taken.push(box);
  }
  return taken.map(({ text, left, right, top }) => ({ text, left: (left + right) / 2, top: top + HEIGHT / 2 }));
}
