/** What lies nearest to an item, and which of that is nearly the same. */
import { useEffect, useState } from "preact/hooks";

import { isAbort, messageOf, search } from "../api/client";
import type { Item } from "../api/types";
import { selection } from "../state/query";
import { opened } from "./detail";
import { plural, score as scoreText, titleOf } from "./format";
import { Icon } from "./icons";
import { Thumb } from "./thumb";

const SHOWN = 8;
/** What is asked for, since near duplicates may be many. */
const ASKED = 100;
/** From this cosine on the server, too, takes two items for twins. */
const TWINS = 0.97;

export function Neighbours({ item }: { item: Item }) {
  const [near, setNear] = useState<Item[] | string | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    search({ id: item.id, limit: ASKED, offset: 0, histogram: false }, abort.signal).then(
      // In case the server counts the item among its own neighbours.
      ({ results }) => setNear(results.filter(({ id }) => id !== item.id)),
      (error: unknown) => isAbort(error) || setNear(messageOf(error)),
    );
    return () => abort.abort();
  }, [item.id]);
  const found = Array.isArray(near) ? near : [];
  const shown = found.slice(0, SHOWN);
  const twins = found.filter(({ score }) => (score ?? 0) >= TWINS);
  return (
    <section class="near" aria-label="Nearest items">
      <div class="near-head">
        <h3 class="section">Nearest</h3>
        {twins.length > 0 && (
          <button
            type="button"
            class="link"
            title={`With a cosine of ${TWINS} or more`}
            onClick={() => {
              opened.value = null;
              selection.value = [item.id, ...twins.map(({ id }) => id)];
            }}
          >
            <Icon name="twins" /> List {plural(twins.length, "near duplicate")}{twins.length === ASKED && " or more"}
          </button>
        )}
      </div>
      {typeof near === "string" && <p class="quiet">{near}</p>}
      <ul class="near-list">
        {near === null &&
          Array.from({ length: SHOWN }, (_, at) => <li key={at} class="near-item skeleton" aria-hidden="true" />)}
        {shown.map((other) => (
          <li key={other.id}>
            <button
              type="button"
              class="near-item"
              aria-label={`${titleOf(other)}, score ${scoreText(other.score ?? 0)}`}
              title={titleOf(other)}
              onClick={() => (opened.value = { item: other, among: shown })}
            >
              <Thumb item={other} />
              <span class="near-score">{scoreText(other.score ?? 0)}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
