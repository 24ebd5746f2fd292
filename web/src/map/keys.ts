/** The map by keyboard: arrows pan, + and − zoom, R draws a rectangle that arrows move and Shift+arrows size. */
import { type Camera, HOME, panned, type Size, zoomed } from "./camera";

/** A rectangle in pixels, by its middle and half its sides. */
export interface Frame {
  x: number;
  y: number;
  halfWidth: number;
  halfHeight: number;
}

const STEP = 48;
const FINE = 16;
const ARROWS: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

export type KeyResult = { camera: Camera } | { frame: Frame | null } | { select: Frame } | null;

/** What a key does in this situation; null if it means nothing to the map. */
export function press(event: KeyboardEvent, camera: Camera, size: Size, frame: Frame | null): KeyResult {
  if (event.ctrlKey || event.metaKey || event.altKey) return null;
  const arrow = ARROWS[event.key];
  if (frame) {
    if (event.key === "Enter") return { select: frame };
    if (event.key === "Escape" || event.key === "r" || event.key === "R") return { frame: null };
    if (arrow) return { frame: event.shiftKey ? sized(frame, arrow, size) : moved(frame, arrow, size) };
  }
  if (arrow) return { camera: panned(camera, size, -arrow[0] * STEP, -arrow[1] * STEP) };
  switch (event.key) {
    case "+":
    case "=":
      return { camera: zoomed(camera, size, 1.4) };
    case "-":
      return { camera: zoomed(camera, size, 1 / 1.4) };
    case "0":
      return { camera: HOME };
    case "r":
    case "R":
      return { frame: { x: size.width / 2, y: size.height / 2, halfWidth: size.width / 6, halfHeight: size.height / 6 } };
    default:
      return null;
  }
}

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));

const moved = (frame: Frame, [dx, dy]: readonly [number, number], size: Size): Frame => ({
  ...frame,
  x: clamp(frame.x + dx * FINE, 0, size.width),
  y: clamp(frame.y + dy * FINE, 0, size.height),
});

const sized = (frame: Frame, [dx, dy]: readonly [number, number], size: Size): Frame => ({
  ...frame,
  halfWidth: clamp(frame.halfWidth + dx * FINE, FINE, size.width / 2),
  halfHeight: clamp(frame.halfHeight - dy * FINE, FINE, size.height / 2),
});
