/** The order of items: of all that there are, or of the best that a query has found. */
import type { Field, IndexInfo } from "../api/types";
import { Icon } from "../parts/icons";
import { ask, asks, query } from "../state/query";
import { BEST } from "../state/results";

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
/** The time of the file. */
const MODIFIED = "modified";
/** No field's name: those of an index begin otherwise here. */
const RANDOM = "random";
const SCORE = "score";
const field = (name: string): string => `field ${name}`;

/** A seed that is short in an address. */
const newSeed = (): number => Math.floor(Math.random() * 100_000);

export function Sort({ info }: { info: IndexInfo }) {
  const { sort, seed, arrange } = query.value;
  const found = asks.value;
  const order = found ? arrange : sort;
  const down = order?.startsWith("-") ?? false;
  const name = order?.replace(/^-/, "") ?? null;
  const known = info.fields.find((each) => each.name === name);
  const type = known?.type ?? (name === MODIFIED ? "date" : "string");
  const [up, reverse] = WORDS[type];
  const random = !found && seed !== null;
  const plain = found ? SCORE : KEY;
  const value = random ? RANDOM : name === null || name === KEY ? plain : known || found ? field(name) : name;
  const set = (next: string | null): void => ask(found ? { arrange: next } : { sort: next, seed: null });
  const choose = (chosen: string): void => {
    if (chosen === RANDOM) return ask({ sort: null, seed: newSeed() });
    const wanted = chosen.replace(/^field /, "");
    if (chosen === plain) return set(null);
    // A change of field begins with what people mostly want: the newest, and names from A.
    const newest = chosen === MODIFIED || info.fields.some((each) => each.name === wanted && each.type === "date");
    set(newest ? `-${wanted}` : wanted);
  };
  const own = info.fields.some((each) => each.name === MODIFIED);
  return (
    <div class="sort">
      <label class="pick" title={found ? `The ${BEST} best in another order` : undefined}>
        Sort by
        <select value={value} onChange={({ currentTarget }) => choose(currentTarget.value)}>
          {found ? <option value={SCORE}>score</option> : <option value={KEY}>path</option>}
          {!found && !own && <option value={MODIFIED}>time of file</option>}
          {!found && <option value={RANDOM}>random</option>}
          {info.fields.map((each) => (
            <option key={each.name} value={field(each.name)}>
              {each.name}
            </option>
          ))}
          {name !== null && !known && ![KEY, MODIFIED].includes(name) && (
            <option value={found ? field(name) : name}>{name}</option>
          )}
        </select>
      </label>
      {random ? (
        <button type="button" class="button" onClick={() => ask({ seed: newSeed() })}>
          <Icon name="shuffle" />
          shuffle again
        </button>
      ) : (
        !(found && name === null) && (
          <button
            type="button"
            class="button"
            title="Reverse the order"
            onClick={() => set(`${down ? "" : "-"}${name ?? KEY}`.replace(/^key$/, "") || null)}
          >
            <Icon name={down ? "descending" : "ascending"} />
            {down ? reverse : up}
          </button>
        )
      )}
    </div>
  );
}
