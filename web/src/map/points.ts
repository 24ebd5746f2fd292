/** Questions to the points: which is nearest, which lie inside. A scan of 100,000 takes well under a frame. */
import type { Point } from "./camera";

export interface Cloud {
  ids: string[];
  x: Float32Array;
  y: Float32Array;
}

/** The point nearest to a place, if one lies within `reach`. */
export function nearest({ x, y }: Cloud, [px, py]: Point, reach: number): number | null {
  let best: number | null = null;
  let least = reach * reach;
  for (let i = 0; i < x.length; i++) {
    const distance = (x[i]! - px) ** 2 + (y[i]! - py) ** 2;
    if (distance <= least) [best, least] = [i, distance];
  }
  return best;
}

/** Even-odd rule, as SVG fills a path that crosses itself with fill-rule evenodd. */
function inside(polygon: readonly Point[], px: number, py: number): boolean {
  let odd = false;
  for (let i = 0, j = polygon.length - 1; i < polygon.length; j = i++) {
    const [ax, ay] = polygon[i]!;
    const [bx, by] = polygon[j]!;
    if (ay > py !== by > py && px < ((bx - ax) * (py - ay)) / (by - ay) + ax) odd = !odd;
  }
  return odd;
}

/** Ids of the points within a polygon given in the map's units. */
export function within({ ids, x, y }: Cloud, polygon: readonly Point[]): string[] {
  const xs = polygon.map(([px]) => px);
  const ys = polygon.map(([, py]) => py);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [bottom, top] = [Math.min(...ys), Math.max(...ys)];
  return ids.filter((_, i) => {
    const [px, py] = [x[i]!, y[i]!];
    return px >= left && px <= right && py >= bottom && py <= top && inside(polygon, px, py);
  });
}

/** How many points lie in a rectangle; asked on every move of the map, so nothing is built for it. */
export function countIn({ x, y }: Cloud, [left, top]: Point, [right, bottom]: Point): number {
  let found = 0;
  for (let i = 0; i < x.length; i++) {
    if (x[i]! >= left && x[i]! <= right && y[i]! >= bottom && y[i]! <= top) found++;
  }
  return found;
}

export const rectangle = ([ax, ay]: Point, [bx, by]: Point): Point[] => [
  [ax, ay],
  [bx, ay],
  [bx, by],
  [ax, by],
];
