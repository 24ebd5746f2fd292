/** The item under the pointer. */
import { useEffect, useState } from "preact/hooks";

import { fetchItems } from "../api/client";
import type { Item } from "../api/types";
import { titleOf } from "../parts/format";
import { Thumb } from "../parts/thumb";
import type { Point, Size } from "./camera";

/** Items seen before; a map is hovered back and forth. */
const seen = new Map<string, Item>();
const PAUSE_MS = 60;

export async function itemOf(id: string, abort?: AbortSignal): Promise<Item | null> {
  const known = seen.get(id);
  if (known) return known;
  const [item] = await fetchItems([id], abort);
  if (item) seen.set(id, item);
  return item ?? null;
}

export function HoverCard({ id, at, size }: { id: string; at: Point; size: Size }) {
  const [item, setItem] = useState<Item | null>(seen.get(id) ?? null);
  useEffect(() => {
    setItem(seen.get(id) ?? null);
    const abort = new AbortController();
    const timer = setTimeout(() => {
      // A card that cannot be had is no event: the pointer moves on.
      itemOf(id, abort.signal).then(setItem, () => undefined);
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [id]);
  if (item?.id !== id) return null;
  // Towards the middle of the map, so that it never leaves it.
  const across = at[0] > size.width / 2 ? "calc(-100% - 14px)" : "14px";
  const along = at[1] > size.height / 2 ? "calc(-100% - 14px)" : "14px";
  return (
    <div class="hover-card" style={{ left: `${at[0]}px`, top: `${at[1]}px`, transform: `translate(${across}, ${along})` }}>
      <Thumb item={item} />
      {item.kind !== "text" && <span>{titleOf(item)}</span>}
    </div>
  );
}
