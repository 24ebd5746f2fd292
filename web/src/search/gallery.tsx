/**
 * The results as a grid as long as they are many, of which only what is near the view is there; arrows move in it, one
 * card at a time is a stop for Tab.
 */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

import { opened } from "../parts/detail";
import { info } from "../state/index-info";
import { clearPicked, picked, pickAll, pickFrom, pickTo, togglePicked } from "../state/picked";
import { askLike } from "../state/query";
import { failure, loading, reach, type Results } from "../state/results";
import { Card } from "./card";

const cards = (list: Element | null): HTMLElement[] => [...(list?.querySelectorAll<HTMLElement>("[data-card]") ?? [])];

/** From the search box into the results. */
export const focusGallery = (): void => cards(document.querySelector(".gallery"))[0]?.focus();

interface Grid {
  columns: number;
  /** From one row to the next, in pixels. */
  pitch: number;
}

function measured(list: HTMLElement): Grid | null {
  const card = list.querySelector("li");
  if (!card) return null;
  const { gridTemplateColumns, rowGap } = getComputedStyle(list);
  return { columns: gridTemplateColumns.split(" ").length, pitch: card.offsetHeight + Number.parseFloat(rowGap) };
}

function target(key: string, at: number, columns: number, total: number): number | null {
  const moves: Record<string, number> = {
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + columns,
    ArrowUp: at - columns,
    Home: 0,
    End: total - 1,
  };
  const next = moves[key];
  return next === undefined ? null : Math.min(next, total - 1);
}

export function Gallery({ found, label }: { found: Results; label: string }) {
  const { items, start, total } = found;
  const list = useRef<HTMLUListElement>(null);
  const [grid, setGrid] = useState<Grid>({ columns: 1, pitch: 0 });
  const [stop, setStop] = useState(0);
  /** The place of a card that is to have the focus, once it is there. */
  const wanted = useRef<number | null>(null);
  const now = useRef(grid);
  now.current = grid;

  const look = (): void => {
    const { columns, pitch } = now.current;
    if (!list.current || pitch === 0) return;
    const top = -list.current.getBoundingClientRect().top;
    // A screen more in both directions.
    const row = (y: number): number => Math.max(0, Math.floor(y / pitch)) * columns;
    reach(row(top - innerHeight), row(top + 2 * innerHeight) + columns);
  };
  useEffect(() => {
    if (!list.current) return;
    const observer = new ResizeObserver(() => {
      const next = list.current && measured(list.current);
      if (next && (next.columns !== now.current.columns || Math.abs(next.pitch - now.current.pitch) > 0.5)) setGrid(next);
    });
    observer.observe(list.current);
    addEventListener("scroll", look, { passive: true });
    return () => {
      observer.disconnect();
      removeEventListener("scroll", look);
    };
  }, []);
  useEffect(look, [found, grid, loading.value, failure.value]);

  // What was asked for anew begins at its beginning.
  const shown = useRef(found.best);
  useLayoutEffect(() => {
    const box = list.current?.getBoundingClientRect();
    if (shown.current !== found.best && box && box.top < 0) scrollBy(0, box.top - innerHeight / 4);
    if (shown.current !== found.best) setStop(0);
    shown.current = found.best;
  }, [found.best]);

  const focus = (place: number): void => {
    const card = cards(list.current)[place - start];
    wanted.current = card ? null : place;
    if (card) return card.focus();
    const top = list.current?.getBoundingClientRect().top ?? 0;
    scrollBy(0, top + Math.floor(place / grid.columns) * grid.pitch - innerHeight / 2);
  };
  useEffect(() => {
    if (wanted.current !== null) focus(wanted.current);
  }, [found]);

  const kinds = Object.keys(info()?.kinds ?? {}).length > 1;
  const onKeyDown = (event: KeyboardEvent): void => {
    const all = cards(list.current);
    const held = all.findIndex((card) => card.parentElement?.contains(document.activeElement));
    const id = items[held]?.id;
    if (id === undefined || event.altKey) return;
    if (event.ctrlKey || event.metaKey) {
      if (event.key !== "a") return;
      event.preventDefault();
      return void pickAll();
    }
    if (event.key === "s") return askLike(id);
    if (event.key === "x") return togglePicked(id, start + held);
    if (event.key === "Escape") return clearPicked();
    const next = target(event.key, start + held, grid.columns, total);
    if (next === null) return;
    event.preventDefault();
    if (next < 0) return document.querySelector<HTMLElement>(".bar-input")?.focus();
    if (event.shiftKey) {
      pickFrom(id, start + held);
      pickTo(next, items, start);
    }
    focus(next);
  };
  const end = start + items.length;
  const rows = (places: number): number => Math.floor(places / grid.columns) * grid.pitch;
  const below = Math.ceil(total / grid.columns) - Math.ceil(end / grid.columns);
  return (
    <ul
      ref={list}
      class="gallery"
      aria-label={label}
      onKeyDown={onKeyDown}
      style={{ paddingTop: `${rows(start)}px`, paddingBottom: `${Math.max(0, below) * grid.pitch}px` }}
    >
      {items.map((item, at) => (
        <Card
          key={item.id}
          item={item}
          place={start + at}
          total={total}
          column={at === 0 ? (start % grid.columns) + 1 : null}
          stop={start + at === stop || (at === 0 && (stop < start || stop >= end))}
          kinds={kinds}
          onFocus={() => setStop(start + at)}
          chosen={picked.value.has(item.id)}
          onPick={(range) => (range ? pickTo(start + at, items, start) : togglePicked(item.id, start + at))}
          onOpen={() => (opened.value = { item, among: null })}
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
