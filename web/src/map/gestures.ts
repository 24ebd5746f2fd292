/** Mouse and touch on the map: drag, pinch, wheel, and the outline of a selection. */
import { type Camera, panned, type Point, type Size, zoomed } from "./camera";

export type Mode = "pan" | "lasso" | "rectangle";

interface Hooks {
  camera: () => Camera;
  move: (camera: Camera) => void;
  size: () => Size;
  mode: () => Mode;
  /** The outline so far, in pixels; null when there is none. */
  outline: (points: Point[] | null) => void;
  select: (points: Point[]) => void;
  hover: (at: Point | null) => void;
  click: (at: Point) => void;
}

/** Movement below this is a click. */
const STILL = 4;

/** Listens on the element until the returned function is called. */
export function listen(element: HTMLElement, hooks: Hooks): () => void {
  const pointers = new Map<number, Point>();
  let path: Point[] | null = null;
  let origin: Point | null = null;
  let moved = false;

  const at = (event: MouseEvent): Point => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const outlineTo = (place: Point): Point[] => {
    const [first] = path ?? [];
    if (hooks.mode() !== "rectangle" || !first) return [...(path ?? []), place];
    return [first, [place[0], first[1]], place, [first[0], place[1]]];
  };

  const down = (event: PointerEvent): void => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    const place = at(event);
    pointers.set(event.pointerId, place);
    hooks.hover(null);
    [origin, moved] = [place, false];
    const draws = pointers.size === 1 && (hooks.mode() !== "pan" || event.shiftKey);
    path = draws ? [place] : null;
    if (!draws) hooks.outline(null);
  };

  const move = (event: PointerEvent): void => {
    const place = at(event);
    const before = pointers.get(event.pointerId);
    if (!before) return hooks.hover(event.pointerType === "touch" ? null : place);
    if (origin && Math.hypot(place[0] - origin[0], place[1] - origin[1]) > STILL) moved = true;
    if (path) {
      const outline = outlineTo(place);
      if (hooks.mode() !== "rectangle") path = outline;
      hooks.outline(outline);
    } else if (pointers.size === 2) pinch(event.pointerId, before, place);
    else if (moved) hooks.move(panned(hooks.camera(), hooks.size(), place[0] - before[0], place[1] - before[1]));
    pointers.set(event.pointerId, place);
  };

  const pinch = (id: number, before: Point, place: Point): void => {
    const other = [...pointers].find(([key]) => key !== id)?.[1];
    if (!other) return;
    const distance = (a: Point): number => Math.hypot(a[0] - other[0], a[1] - other[1]) || 1;
    const middle: Point = [(place[0] + other[0]) / 2, (place[1] + other[1]) / 2];
    const next = zoomed(hooks.camera(), hooks.size(), distance(place) / distance(before), middle);
    hooks.move(panned(next, hooks.size(), (place[0] - before[0]) / 2, (place[1] - before[1]) / 2));
  };

  const up = (event: PointerEvent): void => {
    if (!pointers.delete(event.pointerId)) return;
    const place = at(event);
    const outline = path && outlineTo(place);
    path = null;
    hooks.outline(null);
    if (event.type === "pointercancel") return;
    if (moved && outline && outline.length > 2) hooks.select(outline);
    else if (!moved && pointers.size === 0) hooks.click(place);
  };

  const wheel = (event: WheelEvent): void => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 24 : 1;
    hooks.move(zoomed(hooks.camera(), hooks.size(), Math.exp(-event.deltaY * lines * 0.002), at(event)));
  };
  const leave = (): void => hooks.hover(null);

  element.addEventListener("pointerdown", down);
  element.addEventListener("pointermove", move);
  element.addEventListener("pointerup", up);
  element.addEventListener("pointercancel", up);
  element.addEventListener("pointerleave", leave);
  // Not passive, for the page must not scroll while the map zooms.
  element.addEventListener("wheel", wheel, { passive: false });
  return () => {
    element.removeEventListener("pointerdown", down);
    element.removeEventListener("pointermove", move);
    element.removeEventListener("pointerup", up);
    element.removeEventListener("pointercancel", up);
    element.removeEventListener("pointerleave", leave);
    element.removeEventListener("wheel", wheel);
  };
}
