/** One item in full: its picture, its fields, and what lies nearest to it. */
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";

import type { Item } from "../api/types";
import { askLike } from "../state/query";
import { reach, results } from "../state/results";
import { count, score as scoreText, titleOf, valueText, wayText } from "./format";
import { Icon } from "./icons";
import { FileActions } from "./file-actions";
import { Modal } from "./modal";
import { Neighbours } from "./neighbours";
import { Player } from "./player";
import { Thumb } from "./thumb";

/** The open item, and the list that "previous" and "next" step through; null is what the query has found. */
export const opened = signal<{ item: Item; among: Item[] | null } | null>(null);

const close = (): void => void (opened.value = null);

export function Detail() {
  const shown = opened.value;
  return shown && <Open item={shown.item} among={shown.among} />;
}

function Open({ item, among }: { item: Item; among: Item[] | null }) {
  const found = among === null ? results.value : null;
  const list = among ?? found?.items ?? [];
  const at = list.findIndex(({ id }) => id === item.id);
  const place = at + (found?.start ?? 0);
  const total = found?.total ?? list.length;
  const step = (by: number): void => {
    const next = list[at + by];
    if (next) opened.value = { item: next, among };
  };
  useEffect(() => {
    if (found && at !== -1) reach(Math.max(0, place - 1), place + 2);
  }, [found, at]);
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === "ArrowLeft") step(-1);
    else if (event.key === "ArrowRight") step(1);
  };
  return (
    <Modal label={titleOf(item)} class="detail" onClose={close} onKeyDown={onKeyDown}>
      <div class="detail-tools">
        <button type="button" class="icon-button" aria-label="Previous" disabled={at < 0 || place === 0} onClick={() => step(-1)}>
          <Icon name="left" />
        </button>
        <button
          type="button"
          class="icon-button"
          aria-label="Next"
          disabled={at === -1 || place + 1 >= total}
          onClick={() => step(1)}
        >
          <Icon name="right" />
        </button>
        <span class="quiet">{at >= 0 && `${count(place + 1)} of ${count(total)}`}</span>
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
          <div class="detail-actions">
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
            <FileActions key={item.id} item={item} />
          </div>
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
