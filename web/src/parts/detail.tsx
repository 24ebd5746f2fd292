/** One item in full: its picture, its fields, and what lies nearest to it. */
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";

import { isAbort, messageOf, search } from "../api/client";
import type { Item } from "../api/types";
import { askLike } from "../state/query";
import { count, score as scoreText, titleOf, valueText, wayText } from "./format";
import { Icon } from "./icons";
import { Modal } from "./modal";
import { Player } from "./player";
import { Thumb } from "./thumb";

/** The open item, and the list that "previous" and "next" step through. */
export const opened = signal<{ item: Item; among: Item[] } | null>(null);

const close = (): void => void (opened.value = null);
const NEIGHBOURS = 8;

export function Detail() {
  const shown = opened.value;
  return shown && <Open item={shown.item} among={shown.among} />;
}

function Open({ item, among }: { item: Item; among: Item[] }) {
  const at = among.findIndex(({ id }) => id === item.id);
  const step = (by: number): void => {
    const next = among[at + by];
    if (next) opened.value = { item: next, among };
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
  };
  return (
    <Modal label={titleOf(item)} class="detail" onClose={close} onKeyDown={onKeyDown}>
      <div class="detail-tools">
        <button type="button" class="icon-button" aria-label="Previous" disabled={at <= 0} onClick={() => step(-1)}>
          <Icon name="left" />
        </button>
        <button
          type="button"
          class="icon-button"
          aria-label="Next"
          disabled={at === -1 || at + 1 >= among.length}
          onClick={() => step(1)}
        >
          <Icon name="right" />
        </button>
        <span class="quiet">{at >= 0 && `${count(at + 1)} of ${count(among.length)}`}</span>
        <button type="button" class="icon-button detail-close" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </button>
      </div>
      <div class="detail-columns">
        <div class="detail-picture">
          <Original key={item.id} item={item} />
        </div>
        <div class="detail-text">
          <Facts item={item} />
          <button
            type="button"
            class="button button-main"
            onClick={() => {
              close();
              askLike(item.id);
            }}
          >
            <Icon name="similar" /> More like this
          </button>
        </div>
      </div>
      <Neighbours key={item.id} item={item} />
    </Modal>
  );
}

/** The original where the server gives it out (pictures, sounds), else the thumbnail, else the text. */
function Original({ item }: { item: Item }) {
  const [broken, setBroken] = useState(false);
  if (item.kind === "audio" && item.content !== null) return <Player src={item.content} label={titleOf(item)} />;
  if (item.content === null || broken) return <Thumb item={item} />;
  return <Thumb item={item} src={item.content} onBroken={() => setBroken(true)} />;
}

function Facts({ item }: { item: Item }) {
  const fields = Object.entries(item.fields).filter(([, value]) => value !== null);
  return (
    <>
      <h2 class={item.kind === "text" ? "visually-hidden" : ""}>{titleOf(item)}</h2>
      <dl class="facts">
        <dt>kind</dt>
        <dd>{item.kind}</dd>
        {item.score !== null && (
          <>
            <dt>score</dt>
            <dd class="number">{scoreText(item.score)}</dd>
          </>
        )}
        {Object.keys(item.ranks).length > 1 && (
          <>
            <dt>places</dt>
            <dd class="number">{wayText(item)}</dd>
          </>
        )}
        {fields.map(([name, value]) => (
          <>
            <dt key={`${name}-name`}>{name}</dt>
            <dd key={name}>{valueText(value)}</dd>
          </>
        ))}
        {item.path !== "" && (
          <>
            <dt>path</dt>
            <dd class="path">{item.path}</dd>
          </>
        )}
      </dl>
    </>
  );
}

function Neighbours({ item }: { item: Item }) {
  const [near, setNear] = useState<Item[] | string | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    // One more than is shown, in case the server counts the item among its own neighbours.
    search({ id: item.id, limit: NEIGHBOURS + 1, offset: 0, histogram: false }, abort.signal).then(
      ({ results }) => setNear(results.filter(({ id }) => id !== item.id).slice(0, NEIGHBOURS)),
      (error: unknown) => isAbort(error) || setNear(messageOf(error)),
    );
    return () => abort.abort();
  }, [item.id]);
  return (
    <section class="near" aria-label="Nearest items">
      <h3 class="section">Nearest</h3>
      {typeof near === "string" && <p class="quiet">{near}</p>}
      <ul class="near-list">
        {near === null &&
          Array.from({ length: NEIGHBOURS }, (_, at) => <li key={at} class="near-item skeleton" aria-hidden="true" />)}
        {Array.isArray(near) &&
          near.map((other) => (
            <li key={other.id}>
              <button
                type="button"
                class="near-item"
                aria-label={`${titleOf(other)}, score ${scoreText(other.score ?? 0)}`}
                title={titleOf(other)}
                onClick={() => (opened.value = { item: other, among: near })}
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
