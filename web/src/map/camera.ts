/** Which part of the plane the canvas shows, and the way from points to pixels and back. */

export interface Camera {
  /** Middle of the view, in the map's units. */
  x: number;
  y: number;
  /** 1 shows the whole map, 2 half of it. */
  zoom: number;
}

export interface Size {
  width: number;
  height: number;
}

export type Point = readonly [number, number];

export const HOME: Camera = { x: 0, y: 0, zoom: 1 };
const [LEAST, MOST] = [0.5, 200];

/** Pixels per unit of the map; points lie in [-1, 1] and get a margin. */
export const scaleOf = ({ zoom }: Camera, { width, height }: Size): number => (zoom * Math.min(width, height)) / 2.12;

export function toPixel(camera: Camera, size: Size, [x, y]: Point): Point {
  const scale = scaleOf(camera, size);
  return [size.width / 2 + (x - camera.x) * scale, size.height / 2 - (y - camera.y) * scale];
}

export function toMap(camera: Camera, size: Size, [px, py]: Point): Point {
  const scale = scaleOf(camera, size);
  return [camera.x + (px - size.width / 2) / scale, camera.y - (py - size.height / 2) / scale];
}

export function panned(camera: Camera, size: Size, dx: number, dy: number): Camera {
  const scale = scaleOf(camera, size);
  const keep = (value: number): number => Math.min(1.5, Math.max(-1.5, value));
  return { ...camera, x: keep(camera.x - dx / scale), y: keep(camera.y + dy / scale) };
}

/** Zooms so that what lies under the pixel stays there. */
export function zoomed(camera: Camera, size: Size, factor: number, at?: Point): Camera {
  const pixel = at ?? [size.width / 2, size.height / 2];
  const before = toMap(camera, size, pixel);
  const next = { ...camera, zoom: Math.min(MOST, Math.max(LEAST, camera.zoom * factor)) };
  const after = toMap(next, size, pixel);
  return { ...next, x: next.x + before[0] - after[0], y: next.y + before[1] - after[1] };
}
