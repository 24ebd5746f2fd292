/** How a number is spread over the points, in the ramp's colours, and from where to where one looks. */
import { useEffect, useState } from "preact/hooks";

import type { Bound, Condition } from "../api/types";
import { count, plural } from "../parts/format";
import { query, setCondition } from "../state/query";
import type { Scale } from "./palette";

const STOPS = 200;
const HEIGHT = 36;

/** How a value of the scale is written, and what a filter takes. */
function boundOf({ type }: Scale, value: number): Bound {
  if (type === "date") return new Date(value * 1000).toISOString().slice(0, 10);
  return type === "integer" ? Math.round(value) : Number(value.toPrecision(6));
}

const textOf = (bound: Bound): string => (typeof bound === "number" && Math.abs(bound) >= 10_000 ? count(bound) : String(bound));

const valueOf = (bound: Bound | undefined, open: number): number => {
  if (bound === undefined) return open;
  const value = typeof bound === "number" ? bound : Date.parse(bound) / 1000;
  return Number.isNaN(value) ? open : value;
};

export function Range({ by, scale }: { by: string; scale: Scale }) {
  const { low, high, counts, colours, values } = scale;
  const condition = query.value.filter[by];
  const set = condition !== undefined && !Array.isArray(condition) ? condition : {};
  const [from, to] = [valueOf(set[">="], low), valueOf(set["<="], high)];
  const width = high - low || 1;
  const stop = (value: number): number => Math.round(((value - low) / width) * STOPS);
  const [ends, setEnds] = useState<[number, number]>([stop(from), stop(to)]);
  useEffect(() => setEnds([stop(from), stop(to)]), [by, from, to, low, high]);
  const at = (place: number): Bound => boundOf(scale, low + (place / STOPS) * width);
  const apply = ([first, last]: [number, number]): void => {
    const next: Condition = {};
    if (first > 0) next[">="] = at(first);
    if (last < STOPS) next["<="] = at(last);
    setCondition(by, Object.keys(next).length > 0 ? next : null);
  };
  const moved = (side: 0 | 1, place: number): [number, number] =>
    side === 0 ? [Math.min(place, ends[1]), ends[1]] : [ends[0], Math.max(place, ends[0])];
  const slider = (side: 0 | 1, label: string) => (
    <input
      type="range"
      min="0"
      max={STOPS}
      value={ends[side]}
      aria-label={`${by}, ${label}`}
      aria-valuetext={textOf(at(ends[side]))}
      onInput={({ currentTarget }) => setEnds(moved(side, currentTarget.valueAsNumber))}
      onChange={({ currentTarget }) => apply(moved(side, currentTarget.valueAsNumber))}
    />
  );
  const tallest = Math.sqrt(Math.max(1, ...counts));
  const without = values.reduce<number>((sum, value) => sum + Number(value === null), 0);
  return (
    <div class="range" role="group" aria-label={`Range of ${by}`}>
      <div class="range-plot">
        <svg viewBox={`0 0 ${counts.length} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
          {counts.map((n, bin) => {
            const height = n === 0 ? 0 : Math.max(1.5, (Math.sqrt(n) / tallest) * HEIGHT);
            const middle = ((bin + 0.5) / counts.length) * STOPS;
            const inside = middle >= ends[0] && middle <= ends[1];
            return (
              <rect
                key={bin}
                x={bin + 0.04}
                y={HEIGHT - height}
                width={0.92}
                height={height}
                fill={colours[bin]}
                opacity={inside ? 1 : 0.25}
              />
            );
          })}
        </svg>
        {slider(0, "from")}
        {slider(1, "to")}
      </div>
      <p class="range-ends">
        <span>{textOf(at(ends[0]))}</span>
        <span class="quiet">
          {by}
          {without > 0 && `; ${plural(without, "item")} without`}
        </span>
        <span>{textOf(at(ends[1]))}</span>
      </p>
    </div>
  );
}
