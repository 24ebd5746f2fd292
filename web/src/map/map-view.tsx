/** The index as a plane: seen, searched in, and selected from. */
import { useEffect, useMemo, useState } from "preact/hooks";

import { messageOf } from "../api/client";
import type { MapData } from "../api/types";
import { count, plural } from "../parts/format";
import { Icon, type IconName } from "../parts/icons";
import { Notice } from "../parts/notice";
import { info, loadMap } from "../state/index-info";
import { asks, selection } from "../state/query";
import { results } from "../state/results";
import { type Camera, HOME, type Size, toMap, zoomed } from "./camera";
import type { Mode } from "./gestures";
import { MapCanvas } from "./map-canvas";
import { colouring, type Colouring, defaultField } from "./palette";
import { type Cloud, countIn, rectangle, within } from "./points";
import { MARK } from "./renderer";

export function MapView() {
  const [data, setData] = useState<MapData | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const version = info()?.version;
  const load = (): void => {
    setProblem(null);
    loadMap(version ?? "").then(setData, (error: unknown) => setProblem(messageOf(error)));
  };
  useEffect(() => {
    if (version !== undefined) load();
  }, [version]);
  return (
    <section class="map" aria-label="Map">
      {problem !== null ? (
        <Notice message={problem} retry={load} />
      ) : data ? (
        <Loaded data={data} />
      ) : (
        <div class="map-box skeleton" aria-hidden="true" />
      )}
    </section>
  );
}

const MODES: { mode: Mode; icon: IconName; label: string }[] = [
  { mode: "pan", icon: "hand", label: "Move the map" },
  { mode: "lasso", icon: "lasso", label: "Select with a lasso" },
  { mode: "rectangle", icon: "rectangle", label: "Select a rectangle" },
];

/** What stands out: the selection, else this query's results, else nothing. */
function marksOf(ids: string[]): Uint8Array<ArrayBuffer> {
  const chosen = selection.value && new Set(selection.value);
  const found = chosen || !asks.value ? null : new Set(results.value?.items.map(({ id }) => id));
  if (!chosen && !found?.size) return new Uint8Array(ids.length);
  return Uint8Array.from(ids, (id) =>
    chosen ? (chosen.has(id) ? MARK.chosen : MARK.faded) : found?.has(id) ? MARK.result : MARK.faded,
  );
}

function Loaded({ data }: { data: MapData }) {
  const [chosen, setBy] = useState(() => defaultField(data));
  const by = chosen in data.fields ? chosen : "kind"; // the field may have gone since
  const [mode, setMode] = useState<Mode>("pan");
  const [camera, setCamera] = useState<Camera>(HOME);
  const [size, setSize] = useState<Size>({ width: 1, height: 1 });
  const [missing, setMissing] = useState(false);
  const cloud = useMemo<Cloud>(
    () => ({ ids: data.ids, x: Float32Array.from(data.x), y: Float32Array.from(data.y) }),
    [data],
  );
  const coloured = useMemo(() => colouring(data, by), [data, by]);
  const marks = useMemo(() => marksOf(data.ids), [data, selection.value, results.value]);
  const select = (ids: string[]): void => {
    selection.value = ids.length > 0 ? ids : null;
  };
  const [topLeft, bottomRight] = [toMap(camera, size, [0, 0]), toMap(camera, size, [size.width, size.height])];
  const seen = countIn(cloud, topLeft, bottomRight);
  const zoom = (factor: number) => () => setCamera(zoomed(camera, size, factor));
  return (
    <>
      <div class="map-tools" role="toolbar" aria-label="Map tools">
        <div class="segments segments-icons">
          {MODES.map(({ mode: own, icon, label }) => (
            <button
              key={own}
              type="button"
              aria-pressed={mode === own}
              aria-label={label}
              title={label}
              onClick={() => setMode(own)}
            >
              <Icon name={icon} />
            </button>
          ))}
        </div>
        <div class="segments segments-icons">
          <button type="button" aria-label="Zoom out" title="Zoom out" onClick={zoom(1 / 1.6)}>
            <Icon name="minus" />
          </button>
          <button type="button" aria-label="Zoom in" title="Zoom in" onClick={zoom(1.6)}>
            <Icon name="plus" />
          </button>
          <button type="button" aria-label="Whole map" title="Whole map" onClick={() => setCamera(HOME)}>
            <Icon name="reset" />
          </button>
        </div>
        <label class="pick">
          Colour by
          <select value={by} onChange={(event) => setBy(event.currentTarget.value)}>
            <option value="kind">kind</option>
            {Object.keys(data.fields).map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button
          type="button"
          class="button map-seen"
          disabled={seen === 0}
          onClick={() => select(within(cloud, rectangle(topLeft, bottomRight)))}
        >
          List {count(seen)} in view
        </button>
      </div>
      {missing ? (
        <Notice message="This browser has no WebGL, which draws the map. The groups below can still be listed, and the search works." />
      ) : (
        <MapCanvas
          cloud={cloud}
          colouring={coloured}
          marks={marks}
          camera={camera}
          onCamera={setCamera}
          onSize={setSize}
          mode={mode}
          onSelect={select}
          onMissing={() => setMissing(true)}
        />
      )}
      <Legend colouring={coloured} by={by} select={(members) => select(members.map((i) => data.ids[i] ?? ""))} />
      <p id="map-keys" class="map-keys quiet">
        Arrows move, + and − zoom, 0 shows all. R draws a rectangle: arrows move it, Shift and arrows size it, Enter
        selects. With the mouse, Shift draws a lasso.
      </p>
    </>
  );
}

/** The groups as buttons: a legend to the eye, and the way to the items without the canvas. */
function Legend({ colouring: { groups }, by, select }: LegendProps) {
  return (
    <ul class="legend" aria-label={`Groups by ${by}`}>
      {groups.map(({ name, colour, members }) => (
        <li key={name}>
          <button type="button" title={`List ${plural(members.length, "item")}`} onClick={() => select(members)}>
            <span class="swatch" style={{ background: colour }} />
            {name} <span class="filter-count">{count(members.length)}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

interface LegendProps {
  colouring: Colouring;
  by: string;
  select: (members: number[]) => void;
}
