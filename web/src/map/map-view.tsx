/** The index as a plane: seen, searched in, and selected from. */
import { useEffect, useMemo, useState } from "preact/hooks";

import { messageOf } from "../api/client";
import type { MapData } from "../api/types";
import { count, plural } from "../parts/format";
import { Icon, type IconName } from "../parts/icons";
import { Notice } from "../parts/notice";
import { info, loadMap } from "../state/index-info";
import { asks, query, selection, setCondition } from "../state/query";
import { results } from "../state/results";
import { theme } from "../state/theme";
import { type Camera, HOME, type Size, toMap, zoomed } from "./camera";
import type { Mode } from "./gestures";
import { MapCanvas } from "./map-canvas";
import { labelsOf, levelOf, naming, placed } from "./labels";
import { colouring, type Colouring, defaultField, type Group, passing } from "./palette";
import { type Cloud, countIn, rectangle, within } from "./points";
import { Range } from "./range";
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

/** The choice of the field that names: in each place the finest one that fits it. */
const AUTOMATIC = "?";
const AT_ONCE = 4;

const MODES: { mode: Mode; icon: IconName; label: string }[] = [
  { mode: "pan", icon: "hand", label: "Move the map" },
  { mode: "lasso", icon: "lasso", label: "Select with a lasso" },
  { mode: "rectangle", icon: "rectangle", label: "Select a rectangle" },
];

/** What stands out: the selection, else this query's best results, else what passes the filters. */
function marksOf(data: MapData): Uint8Array<ArrayBuffer> {
  const chosen = selection.value && new Set(selection.value);
  if (chosen) return Uint8Array.from(data.ids, (id) => (chosen.has(id) ? MARK.chosen : MARK.faded));
  const found = asks.value ? new Set(results.value?.best.map(({ id }) => id)) : null;
  if (found?.size) return Uint8Array.from(data.ids, (id) => (found.has(id) ? MARK.result : MARK.faded));
  const passes = passing(data, query.value.filter);
  if (!passes) return new Uint8Array(data.ids.length);
  return Uint8Array.from(data.ids, (_, i) => (passes(i) ? MARK.plain : MARK.faded));
}

function Loaded({ data }: { data: MapData }) {
  const [chosen, setBy] = useState(() => defaultField(data));
  const by = chosen in data.fields || chosen in data.numbers ? chosen : "kind"; // the field may have gone since
  const [namer, setNamer] = useState(AUTOMATIC);
  const [mode, setMode] = useState<Mode>("pan");
  const [camera, setCamera] = useState<Camera>(HOME);
  const [size, setSize] = useState<Size>({ width: 1, height: 1 });
  const [missing, setMissing] = useState(false);
  const cloud = useMemo<Cloud>(
    () => ({ ids: data.ids, x: Float32Array.from(data.x), y: Float32Array.from(data.y) }),
    [data],
  );
  const shade = theme();
  const coloured = useMemo(() => colouring(data, by, shade), [data, by, shade]);
  const best = asks.value ? results.value?.best : null;
  const marks = useMemo(() => marksOf(data), [data, selection.value, best, query.value.filter]);
  const namers = useMemo(() => naming(data), [data]);
  const level = levelOf(camera);
  const names = useMemo(() => {
    const fields = namer === AUTOMATIC ? namers.slice(0, AT_ONCE) : namers.filter((name) => name === namer);
    return fields.length > 0 ? labelsOf(cloud, data, fields, level) : [];
  }, [cloud, data, namers, namer, level]);
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
            {[...Object.keys(data.fields), ...Object.keys(data.numbers)].map((name) => (
              <option key={name} value={name}>
                {name}
              </option>
            ))}
          </select>
        </label>
        {namers.length > 0 && (
          <label class="pick">
            Names
            <select value={namer} onChange={(event) => setNamer(event.currentTarget.value)}>
              <option value={AUTOMATIC}>what fits</option>
              <option value="">none</option>
              {namers.map((name) => (
                <option key={name} value={name}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        )}
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
          labels={placed(names, camera, size)}
          camera={camera}
          onCamera={setCamera}
          onSize={setSize}
          mode={mode}
          onSelect={select}
          onMissing={() => setMissing(true)}
        />
      )}
      {coloured.scale ? (
        <Range key={by} by={by} scale={coloured.scale} />
      ) : (
        <Legend colouring={coloured} by={by} list={(members) => select(members.map((i) => data.ids[i] ?? ""))} />
      )}
      <p id="map-keys" class="map-keys quiet">
        Arrows move, + and − zoom, 0 shows all. R draws a rectangle: arrows move it, Shift and arrows size it, Enter
        selects. With the mouse, Shift draws a lasso.
      </p>
    </>
  );
}

/** The groups as buttons: a legend to the eye, a filter, and the way to the items without the canvas. */
function Legend({ colouring: { groups }, by, list }: LegendProps) {
  const condition = query.value.filter[by];
  const wanted = Array.isArray(condition) ? condition : [];
  const click = ({ value, members }: Group): void => {
    if (value === null) return list(members); // no filter says "any other"
    const next = wanted.includes(value) ? wanted.filter((other) => other !== value) : [...wanted, value];
    setCondition(by, next.length > 0 ? next : null);
  };
  return (
    <ul class="legend" aria-label={`Groups by ${by}`}>
      {groups.map((group) => (
        <li key={group.name}>
          <button
            type="button"
            title={`${plural(group.members.length, "item")}: ${group.value === null ? "list them" : "filter"}`}
            aria-pressed={group.value === null ? undefined : wanted.includes(group.value)}
            onClick={() => click(group)}
          >
            <span class="swatch" style={{ background: group.colour }} />
            {group.name} <span class="filter-count">{count(group.members.length)}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

interface LegendProps {
  colouring: Colouring;
  by: string;
  list: (members: number[]) => void;
}
