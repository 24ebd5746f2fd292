/** Filters made from the index's own fields. */
import { useState } from "preact/hooks";

import type { Bound, Condition, Field, IndexInfo, Value } from "../api/types";
import { groups, isCut } from "../parts/fields";
import { containedIn, containing, count, valueText } from "../parts/format";
import { Icon } from "../parts/icons";
import { query, setCondition } from "../state/query";
import { Folders } from "./folders";
import { Group } from "./group";

/** More values than this get a search box and a box that scrolls. */
const MANY = 8;

type Counted = { value: Value; count: number | null };

function Checkboxes({ name, values: listed }: { name: string; values: Counted[] }) {
  const [find, setFind] = useState("");
  const condition = query.value.filter[name];
  const chosen = Array.isArray(condition) ? condition : [];
  const pattern = condition !== undefined && !Array.isArray(condition) ? condition.ilike : undefined;
  const toggle = (value: Value): void => {
    const next = chosen.includes(value) ? chosen.filter((other) => other !== value) : [...chosen, value];
    setCondition(name, next.length > 0 ? next : null);
  };
  // A value that the server does not list, for it lists the most frequent ones alone.
  const others = chosen.filter((value) => !listed.some((known) => known.value === value));
  const values: Counted[] = [...others.map((value) => ({ value, count: null })), ...listed];
  const wanted = find.trim().toLowerCase();
  // A chosen value stays in sight whatever is looked for.
  const shown = values.filter(({ value }) => chosen.includes(value) || valueText(value).toLowerCase().includes(wanted));
  return (
    <>
      {values.length > MANY && (
        <input
          class="filter-find"
          type="search"
          placeholder={isCut(listed) ? "Find or type a value" : `Find in ${count(values.length)} values`}
          aria-label={`Find a value of ${name}`}
          value={find}
          onInput={(event) => setFind(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || find.trim() === "") return;
            const [only] = shown.length === 1 ? shown : [];
            if (only || isCut(listed)) toggle(only?.value ?? find.trim());
            setFind("");
          }}
        />
      )}
      <ul class="filter-values">
        {pattern !== undefined && (
          <li>
            <label>
              <input type="checkbox" checked onChange={() => setCondition(name, null)} />
              <span class="filter-value">contains “{containedIn(pattern)}”</span>
            </label>
          </li>
        )}
        {wanted !== "" && (
          <li>
            <button
              type="button"
              class="link"
              onClick={() => {
                setCondition(name, { ilike: containing(find.trim()) });
                setFind("");
              }}
            >
              All that contain “{find.trim()}”
            </button>
          </li>
        )}
        {shown.map(({ value, count: n }) => (
          <li key={String(value)}>
            <label>
              <input type="checkbox" checked={chosen.includes(value)} onChange={() => toggle(value)} />
              <span class="filter-value">{valueText(value)}</span>
              {n !== null && <span class="filter-count">{count(n)}</span>}
            </label>
          </li>
        ))}
        {shown.length === 0 && <li class="quiet">{isCut(listed) ? "Enter takes it as typed" : "No such value"}</li>}
      </ul>
    </>
  );
}

/** From … to, of numbers or days. */
function Range({ field: { name, type, low, high } }: { field: Field }) {
  const condition = query.value.filter[name];
  const bounds = condition !== undefined && !Array.isArray(condition) ? condition : {};
  const days = type === "date";
  const change = (side: ">=" | "<=", { value, valueAsNumber }: HTMLInputElement): void => {
    const { [side]: _old, ...rest } = bounds;
    const next: Condition = value === "" ? rest : { ...rest, [side]: days ? value : valueAsNumber };
    setCondition(name, Object.keys(next).length > 0 ? next : null);
  };
  const input = (side: ">=" | "<=", bound: Bound | null | undefined, label: string) => (
    <input
      type={days ? "date" : "number"}
      step={days ? undefined : type === "integer" ? 1 : "any"}
      aria-label={`${name}, ${label}`}
      placeholder={bound == null ? label : String(bound)}
      value={bounds[side] ?? ""}
      onChange={(event) => change(side, event.currentTarget)}
    />
  );
  return (
    <div class={days ? "filter-range filter-days" : "filter-range"}>
      {input(">=", low, days ? "from" : "at least")}
      <span aria-hidden="true">–</span>
      {input("<=", high, days ? "to" : "at most")}
      {days && low != null && high != null && (
        <p class="quiet">
          {day(low)} to {day(high)}
        </p>
      )}
    </div>
  );
}

/** A time's day. */
const day = (bound: Bound): string => String(bound).slice(0, 10);

/** Of these, ranges are chosen; of all else, values. */
const RANGES = new Set<Field["type"]>(["integer", "number", "date"]);

/** A boolean's values may come without counts. */
const booleanValues = ({ values }: Field): Counted[] =>
  values && values.length > 0 ? values : [true, false].map((value) => ({ value, count: null }));

export function Filters({ info }: { info: IndexInfo }) {
  const kinds = Object.entries(info.kinds).map(([value, n]) => ({ value, count: n }));
  const useful = info.fields.filter(({ type, values }) => type !== "string" || (values?.length ?? 0) > 0);
  // Names and numbers of single items come last, folded: there is little to choose among.
  const fields = [...useful.filter(groups), ...useful.filter((field) => !groups(field))];
  const [open, setOpen] = useState(false);
  const active = Object.keys(query.value.filter).length;
  return (
    <aside class="filters" aria-label="Filters" data-open={open}>
      <button
        type="button"
        class="button filters-toggle"
        aria-expanded={open}
        aria-controls="filter-groups"
        onClick={() => setOpen(!open)}
      >
        <Icon name="filter" /> Filters{active > 0 && ` (${active})`}
      </button>
      <div id="filter-groups" class="filter-groups">
        <Folders />
        {kinds.length > 1 && (
          <Group name="kind" open>
            <Checkboxes name="kind" values={kinds} />
          </Group>
        )}
        {fields.map((field, at) => (
          <Group key={field.name} name={field.name} open={field.type !== "string" || (at < 3 && groups(field))}>
            {RANGES.has(field.type) ? (
              <Range field={field} />
            ) : (
              <Checkboxes
                name={field.name}
                values={field.type === "boolean" ? booleanValues(field) : (field.values ?? [])}
              />
            )}
          </Group>
        ))}
      </div>
    </aside>
  );
}
