/** The canvas with what lies over it: outline, keyboard rectangle and the item under the pointer. */
import { useEffect, useRef, useState } from "preact/hooks";

import { opened } from "../parts/detail";
import { theme } from "../state/theme";
import { type Camera, type Point, scaleOf, type Size, toMap, toPixel } from "./camera";
import { listen, type Mode } from "./gestures";
import { HoverCard, itemOf } from "./hover-card";
import { type Frame, press } from "./keys";
import type { Placed } from "./labels";
import type { Colouring } from "./palette";
import { type Cloud, nearest, rectangle, within } from "./points";
import { Renderer, STILL_MS } from "./renderer";

interface Props {
  cloud: Cloud;
  colouring: Colouring;
  marks: Uint8Array<ArrayBuffer>;
  camera: Camera;
  onCamera: (camera: Camera) => void;
  onSize: (size: Size) => void;
  labels: Placed[];
  mode: Mode;
  onSelect: (ids: string[]) => void;
  onMissing: () => void;
}

/** Pixels within which the pointer means a point. */
const REACH = 12;
const OUTLINE = { light: [0.07, 0.09, 0.15], dark: [1, 1, 1] };

const corners = ({ x, y, halfWidth, halfHeight }: Frame): Point[] =>
  rectangle([x - halfWidth, y - halfHeight], [x + halfWidth, y + halfHeight]);

export function MapCanvas(props: Props) {
  const { cloud, colouring, marks, camera } = props;
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [renderer, setRenderer] = useState<Renderer | null>(null);
  const [size, setSize] = useState<Size>({ width: 1, height: 1 });
  const [outline, setOutline] = useState<Point[] | null>(null);
  const [frame, setFrame] = useState<Frame | null>(null);
  const [hover, setHover] = useState<{ id: string; at: Point } | null>(null);
  // Listeners live as long as the canvas and look at the present through this.
  const now = useRef({ ...props, size });
  now.current = { ...props, size };

  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    const start = (): void => {
      const made = Renderer.on(element);
      setRenderer(made);
      if (!made) now.current.onMissing();
    };
    const lose = (event: Event): void => event.preventDefault(); // asks the browser to restore it
    element.addEventListener("webglcontextlost", lose);
    element.addEventListener("webglcontextrestored", start);
    start();
    return () => {
      element.removeEventListener("webglcontextlost", lose);
      element.removeEventListener("webglcontextrestored", start);
    };
  }, []);

  useEffect(() => {
    if (!box.current) return;
    const observer = new ResizeObserver(([entry]) => {
      const { width = 1, height = 1 } = entry?.contentRect ?? {};
      setSize({ width: Math.max(1, width), height: Math.max(1, height) });
      now.current.onSize({ width, height });
    });
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);

  const pick = (pixel: Point): number | null => {
    const { camera: view, size: extent, cloud: points } = now.current;
    return nearest(points, toMap(view, extent, pixel), REACH / scaleOf(view, extent));
  };
  const select = (pixels: Point[]): void => {
    const { camera: view, size: extent, cloud: points, onSelect } = now.current;
    onSelect(
      within(
        points,
        pixels.map((pixel) => toMap(view, extent, pixel)),
      ),
    );
  };
  const open = async (at: Point): Promise<void> => {
    const found = pick(at);
    const item = found === null ? null : await itemOf(cloud.ids[found] ?? "").catch(() => null);
    if (item) opened.value = { item, among: [item] };
  };

  useEffect(() => {
    if (!box.current) return;
    return listen(box.current, {
      camera: () => now.current.camera,
      move: (next) => now.current.onCamera(next),
      size: () => now.current.size,
      mode: () => now.current.mode,
      outline: setOutline,
      select,
      click: (at) => void open(at),
      hover: (at) => {
        const found = at && pick(at);
        setHover(found == null ? null : { id: now.current.cloud.ids[found] ?? "", at: placeOf(found) });
      },
    });
  }, []);
  const placeOf = (i: number): Point =>
    toPixel(now.current.camera, now.current.size, [now.current.cloud.x[i] ?? 0, now.current.cloud.y[i] ?? 0]);

  useEffect(() => renderer?.setPlaces(cloud.x, cloud.y), [renderer, cloud]);
  useEffect(() => renderer?.setColours(colouring.codes), [renderer, cloud, colouring]);
  useEffect(() => renderer?.setMarks(marks), [renderer, cloud, marks]);
  const shade = theme();
  const drawn = useRef(camera);
  useEffect(() => {
    const draw = (moves: boolean): void => renderer?.draw(camera, size, colouring.colours, OUTLINE[shade], moves);
    const moves = drawn.current !== camera;
    drawn.current = camera;
    const wait = requestAnimationFrame(() => draw(moves));
    const rest = moves ? setTimeout(() => requestAnimationFrame(() => draw(false)), STILL_MS) : 0;
    return () => {
      cancelAnimationFrame(wait);
      clearTimeout(rest);
    };
  }, [renderer, cloud, colouring, marks, camera, size, shade]);

  const onKeyDown = (event: KeyboardEvent): void => {
    const result = press(event, camera, size, frame);
    if (!result) return;
    event.preventDefault();
    if ("camera" in result) props.onCamera(result.camera);
    else if ("frame" in result) setFrame(result.frame);
    else {
      select(corners(result.select));
      setFrame(null);
    }
  };
  const outlined = outline ?? (frame && corners(frame));
  return (
    <div ref={box} class="map-box" data-mode={props.mode}>
      <canvas
        ref={canvas}
        class="map-canvas"
        tabIndex={0}
        role="application"
        aria-label="Map of the index: near means alike"
        aria-describedby="map-keys"
        onKeyDown={onKeyDown}
        onBlur={() => setFrame(null)}
      />
      <div class="map-labels" aria-hidden="true">
        {props.labels.map(({ text, left, top }) => (
          <span key={`${text} ${Math.round(left / 400)} ${Math.round(top / 400)}`} style={{ transform: `translate(${left}px, ${top}px) translate(-50%, -50%)` }}>
            {text}
          </span>
        ))}
      </div>
      {outlined && (
        <svg class="map-outline" aria-hidden="true">
          <polygon points={outlined.map((point) => point.join(",")).join(" ")} />
        </svg>
      )}
      {hover && !outline && <HoverCard id={hover.id} at={hover.at} size={size} />}
    </div>
  );
}
