/** One question to two models: what each finds first, and where the other one has it. */
import { useEffect, useState } from "preact/hooks";

import { isAbort, messageOf, search, searchBeside } from "../api/client";
import type { Item } from "../api/types";
import { opened } from "../parts/detail";
import { fileName, score as scoreText, titleOf } from "../parts/format";
import { Notice } from "../parts/notice";
import { Thumb } from "../parts/thumb";
import { Chips } from "../search/chips";
import { asks, query, selection } from "../state/query";
import { requestOf } from "../state/results";
import { overlap, placesOf } from "./ranks";

const DEPTH = 50;
const PAUSE_MS = 250;

export function Beside({ names }: { names: [string, string] }) {
  const [found, setFound] = useState<[Item[], Item[]] | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [hovered, setHovered] = useState<string | null>(null);
  const asked = query.value;
  selection.value; // a change of it is a change of the question
  useEffect(() => {
    setProblem(null);
    if (!asks.value) return setFound(null);
    const abort = new AbortController();
    const timer = setTimeout(() => {
      // Each by its vectors alone, unless the user says otherwise: it is the models that are compared.
      const body = { ...requestOf({ ...asked, arrange: null }, 0), limit: DEPTH, histogram: false };
      if (body.text && !body.image && !body.mode) body.mode = "vector";
      Promise.all([search(body, abort.signal), searchBeside(body, abort.signal)]).then(
        ([one, other]) => setFound([one.results, other.results]),
        (error: unknown) => isAbort(error) || setProblem(messageOf(error)),
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [asked]);
  const ids = found?.map((items) => items.map(({ id }) => id));
  const [one = [], other = []] = ids ?? [];
  return (
    <section class="beside" aria-label="Two models">
      <Chips />
      {problem !== null && <Notice message={problem} />}
      {!asks.value && <p class="empty">Ask something above: both models answer, side by side.</p>}
      {found && (
        <>
          <p role="status">
            {overlap(one, other, 10)} of the 10 best and {overlap(one, other, DEPTH)} of the{" "}
            {Math.max(one.length, other.length)} best are in both.
          </p>
          <div class="beside-columns">
            {found.map((items, side) => (
              <Column
                key={side}
                name={names[side] ?? ""}
                items={items}
                others={placesOf(side === 0 ? other : one)}
                hovered={hovered}
                onHover={setHovered}
              />
            ))}
          </div>
        </>
      )}
    </section>
  );
}

interface ColumnProps {
  name: string;
  items: Item[];
  /** Places in the other column. */
  others: Map<string, number>;
  /** The item under the pointer or with the focus, in either column. */
  hovered: string | null;
  onHover: (id: string | null) => void;
}

function Column({ name, items, others, hovered, onHover }: ColumnProps) {
  return (
    <div>
      <h2 class="beside-name" title={name}>
        {name}
      </h2>
      <ol class="beside-list" aria-label={name}>
        {items.map((item, place) => (
          <li key={item.id}>
            <button
              type="button"
              class="beside-item"
              data-both={others.has(item.id)}
              data-hovered={hovered === item.id}
              onMouseEnter={() => onHover(item.id)}
              onMouseLeave={() => onHover(null)}
              onFocus={() => onHover(item.id)}
              onClick={() => (opened.value = { item, among: items })}
            >
              <span class="beside-place">{place + 1}</span>
              <span class="beside-picture">
                <Thumb item={item} />
              </span>
              <span class="beside-title">
                {item.thumbnail === null && item.text !== "" ? fileName(item.path) : titleOf(item)}
              </span>
              <span class="card-score">{scoreText(item.score ?? 0)}</span>
              <Change place={place} other={others.get(item.id)} />
            </button>
          </li>
        ))}
      </ol>
    </div>
  );
}

/** How much higher or lower an item stands here than in the other column. */
function Change({ place, other }: { place: number; other: number | undefined }) {
  if (other === undefined) return <span class="beside-change beside-new">only here</span>;
  const by = other - place;
  const words = by === 0 ? "at the same place" : `${Math.abs(by)} ${by > 0 ? "higher" : "lower"} than the other`;
  return (
    <span class="beside-change" data-way={Math.sign(by)}>
      <span aria-hidden="true">{by === 0 ? "=" : `${by > 0 ? "▲" : "▼"} ${Math.abs(by)}`}</span>
      <span class="visually-hidden">{words}</span>
    </span>
  );
}
