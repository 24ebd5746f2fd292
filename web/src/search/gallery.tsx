/** The results as a grid; arrows move in it, one card at a time is a stop for Tab. */
import { useEffect, useRef, useState } from "preact/hooks";

import type { Item } from "../api/types";
import { opened } from "../parts/detail";
import { info } from "../state/index-info";
import { askLike } from "../state/query";
import { Card } from "./card";

const cards = (list: Element | null): HTMLElement[] => [...(list?.querySelectorAll<HTMLElement>("[data-card]") ?? [])];

/** From the search box into the results. */
export const focusGallery = (): void => cards(document.querySelector(".gallery"))[0]?.focus();

/** Cards in a row: those as high up as the first. */
function columnsOf(all: HTMLElement[]): number {
  const first = all[0]?.getBoundingClientRect().top;
  const next = all.findIndex((card) => card.getBoundingClientRect().top !== first);
  return next === -1 ? all.length : next;
}

function target(key: string, at: number, all: HTMLElement[]): number | null {
  const columns = columnsOf(all);
  switch (key) {
    case "ArrowRight":
      return at + 1;
    case "ArrowLeft":
      return at - 1;
    case "ArrowDown":
      return at + columns;
    case "ArrowUp":
      return at - columns;
    case "Home":
      return 0;
    case "End":
      return all.length - 1;
    default:
      return null;
  }
}

export function Gallery({ items, label }: { items: Item[]; label: string }) {
  const list = useRef<HTMLUListElement>(null);
  const [stop, setStop] = useState(0);
  const first = items[0]?.id;
  useEffect(() => setStop(0), [first]);
  const kinds = Object.keys(info()?.kinds ?? {}).length > 1;
  const onKeyDown = (event: KeyboardEvent): void => {
    const all = cards(list.current);
    const at = all.findIndex((card) => card.parentElement?.contains(document.activeElement));
    if (at === -1 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "s") return askLike(items[at]?.id ?? "");
    const next = target(event.key, at, all);
    if (next === null) return;
    event.preventDefault();
    all[next]?.focus();
    if (next < 0) document.querySelector<HTMLElement>(".bar-input")?.focus();
  };
  return (
    <ul ref={list} class="gallery" aria-label={label} onKeyDown={onKeyDown}>
      {items.map((item, at) => (
        <Card
          key={item.id}
          item={item}
          stop={at === stop}
          kinds={kinds}
          onFocus={() => setStop(at)}
          onOpen={() => (opened.value = { item, among: items })}
        />
      ))}
    </ul>
  );
}

/** As many grey cards as a page has results. */
export function Skeleton({ count }: { count: number }) {
  return (
    <div class="gallery" aria-hidden="true">
      {Array.from({ length: count }, (_, at) => (
        <div key={at} class="card skeleton">
          <span class="card-picture" />
          <span class="skeleton-line" />
        </div>
      ))}
    </div>
  );
}
