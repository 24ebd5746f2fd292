/** The order of items where there is nothing to rank by. */
import type { Field, IndexInfo } from "../api/types";
import { Icon } from "../parts/icons";
import { ask, query } from "../state/query";

/** How both directions of a type read. */
const WORDS: Record<Field["type"], [up: string, down: string]> = {
  string: ["A to Z", "Z to A"],
  integer: ["lowest first", "highest first"],
  number: ["lowest first", "highest first"],
  date: ["oldest first", "newest first"],
  boolean: ["no first", "yes first"],
};

/** What an index calls the path or the row's name; every item has one. */
const KEY = "key";

export function Sort({ info }: { info: IndexInfo }) {
  const { sort } = query.value;
  const down = sort?.startsWith("-") ?? false;
  const name = sort?.replace(/^-/, "") ?? KEY;
  const names = [KEY, ...info.fields.map((field) => field.name)];
  const type = info.fields.find((field) => field.name === name)?.type ?? "string";
  const [up, reverse] = WORDS[type];
  const by = (field: string, last: boolean): void => {
    ask({ sort: field === KEY && !last ? null : `${last ? "-" : ""}${field}` });
  };
  return (
    <div class="sort">
      <label class="pick">
        Sort by
        {/* A change of field begins with what people mostly want: the newest, and names from A. */}
        <select
          value={name}
          onChange={({ currentTarget: { value } }) =>
            by(value, info.fields.some((field) => field.name === value && field.type === "date"))
          }
        >
          {(names.includes(name) ? names : [...names, name]).map((field) => (
            <option key={field} value={field}>
              {field === KEY ? "path" : field}
            </option>
          ))}
        </select>
      </label>
      <button type="button" class="button" title="Reverse the order" onClick={() => by(name, !down)}>
        <Icon name={down ? "descending" : "ascending"} />
        {down ? reverse : up}
      </button>
    </div>
  );
}
