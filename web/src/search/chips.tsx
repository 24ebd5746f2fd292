/** What the results answer to, piece by piece, each removable. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

import { fetchItems } from "../api/client";
import type { Item } from "../api/types";
import { conditionText, plural, titleOf } from "../parts/format";
import { Icon } from "../parts/icons";
import { Thumb } from "../parts/thumb";
import { ask, askImage, askText, query, selection, setCondition } from "../state/query";
import { results } from "../state/results";

function Chip({ label, remove, children }: { label: string; remove: () => void; children?: ComponentChildren }) {
  return (
    <li class="chip">
      {children}
      <span class="chip-label">{label}</span>
      <button type="button" aria-label={`Remove ${label}`} onClick={remove}>
        <Icon name="close" />
      </button>
    </li>
  );
}

/** The item is mostly on the page already; after a reload it is asked for. */
function LikeChip({ id }: { id: string }) {
  const [item, setItem] = useState<Item | null>(() => results.peek()?.items.find((shown) => shown.id === id) ?? null);
  useEffect(() => {
    if (item?.id === id) return;
    fetchItems([id]).then(
      ([found]) => setItem(found ?? null),
      () => setItem(null), // the search itself reports what is wrong
    );
  }, [id]);
  const known = item?.id === id ? item : null;
  return (
    <Chip label={known ? `like “${titleOf(known)}”` : "like one item"} remove={() => ask({ like: null })}>
      {known?.thumbnail && <Thumb item={known} />}
    </Chip>
  );
}

export function Chips() {
  const { text, image, like, filter } = query.value;
  const chosen = selection.value;
  const conditions = Object.entries(filter);
  const pieces = [text !== "", image !== null, like !== null, chosen !== null].filter(Boolean).length;
  if (pieces + conditions.length === 0) return null;
  return (
    <ul class="chips" aria-label="The query">
      {chosen !== null && (
        <Chip label={`${plural(chosen.length, "item")} ${query.value.view === "map" ? "from the map" : "chosen"}`} remove={() => (selection.value = null)} />
      )}
      {chosen === null && text !== "" && <Chip label={`“${text}”`} remove={() => askText("")} />}
      {chosen === null && image !== null && (
        <Chip label="picture" remove={() => askImage(null)}>
          <img src={image} alt="" />
        </Chip>
      )}
      {chosen === null && like !== null && <LikeChip key={like} id={like} />}
      {chosen === null &&
        conditions.map(([name, condition]) => (
          <Chip key={name} label={conditionText(name, condition)} remove={() => setCondition(name, null)} />
        ))}
      {chosen === null && pieces + conditions.length > 1 && (
        <li>
          <button
            type="button"
            class="link"
            onClick={() => ask({ text: "", image: null, like: null, filter: {} })}
          >
            Clear all
          </button>
        </li>
      )}
    </ul>
  );
}
