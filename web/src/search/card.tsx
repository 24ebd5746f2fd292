import type { Item } from "../api/types";
import { groups } from "../parts/fields";
import { fileName, score as scoreText, titleOf, valueText } from "../parts/format";
import { Icon } from "../parts/icons";
import { Thumb } from "../parts/thumb";
import { info } from "../state/index-info";
import { askLike } from "../state/query";

interface Props {
  item: Item;
  /** Its place among all that there are. */
  place: number;
  total: number;
  /** Where the row begins that it stands in, if others before it are not there. */
  column: number | null;
  /** Whether Tab stops here: one card of the gallery at a time. */
  stop: boolean;
  onFocus: () => void;
  onOpen: () => void;
  chosen: boolean;
  /** Chooses it, or all from the last chosen one to it. */
  onPick: (range: boolean) => void;
  /** The index holds several kinds, so each card says which it is. */
  kinds: boolean;
}

/** The first few fields, for a glance; the detail view has them all. */
const GLANCE = 4;

export function Card({ item, place, total, column, stop, onFocus, onOpen, chosen, onPick, kinds }: Props) {
  const title = titleOf(item);
  // What the title does not say already, and tells more than this one item apart.
  const telling = info()?.fields.filter(groups) ?? [];
  const fields = telling.flatMap(({ name }) => (item.fields[name] == null ? [] : [[name, item.fields[name]] as const]));
  return (
    <li
      class="card"
      data-kind={item.kind}
      data-chosen={chosen}
      aria-posinset={place + 1}
      aria-setsize={total}
      style={{ gridColumnStart: column ?? "auto" }}
    >
      <button
        type="button"
        class="card-open"
        tabIndex={stop ? 0 : -1}
        data-card
        onFocus={onFocus}
        onClick={(event) => (event.shiftKey || event.ctrlKey || event.metaKey ? onPick(event.shiftKey) : onOpen())}
      >
        <span class="card-picture">
          <Thumb item={item} />
          {kinds && item.kind !== "image" && <span class="badge">{item.kind}</span>}
          {fields.length > 0 && (
            <span class="card-fields">
              {fields.slice(0, GLANCE).map(([name, value]) => (
                <span key={name}>
                  <span class="card-field-name">{name}</span> {valueText(value)}
                </span>
              ))}
            </span>
          )}
        </span>
        <span class="card-line">
          {/* The card shows a text already; where it comes from is what is left to say. */}
          <span class="card-title">{item.thumbnail === null && item.text !== "" ? fileName(item.path) : title}</span>
          {item.score !== null && <span class="card-score">{scoreText(item.score)}</span>}
        </span>
        {item.score !== null && (
          <span class="score-bar" aria-hidden="true">
            <span style={{ width: `${Math.max(0, Math.min(1, item.score)) * 100}%` }} />
          </span>
        )}
      </button>
      <button
        type="button"
        class="card-pick"
        role="checkbox"
        aria-checked={chosen}
        tabIndex={stop ? 0 : -1}
        aria-label={`Choose ${title}`}
        title="Choose (x)"
        onClick={(event) => onPick(event.shiftKey)}
      >
        <Icon name="check" />
      </button>
      <button
        type="button"
        class="card-like"
        tabIndex={stop ? 0 : -1}
        aria-label={`More like ${title}`}
        title="More like this"
        onClick={() => askLike(item.id)}
      >
        <Icon name="similar" />
      </button>
    </li>
  );
}
