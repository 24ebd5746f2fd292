import { useRef } from "preact/hooks";

import { ask, query } from "../state/query";

/** How a text and a picture become one query: fused by the model, or two vectors mixed. */
export function Weight() {
  const { weight } = query.value;
  const last = useRef(0.5);
  if (weight !== null) last.current = weight;
  return (
    <fieldset class="weight">
      <legend class="visually-hidden">How text and picture are joined</legend>
      <div class="segments">
        <label>
          <input type="radio" name="join" checked={weight === null} onChange={() => ask({ weight: null })} />
          <span>Fused by the model</span>
        </label>
        <label>
          <input type="radio" name="join" checked={weight !== null} onChange={() => ask({ weight: last.current })} />
          <span>Mixed</span>
        </label>
      </div>
      {weight !== null && (
        <label class="weight-slider">
          <span>text</span>
          <input
            type="range"
            min="0"
            max="1"
            step="0.05"
            value={weight}
            aria-label="Share of the picture"
            onInput={(event) => ask({ weight: event.currentTarget.valueAsNumber }, "quiet")}
          />
          <span>picture</span>
          <output>{weight.toFixed(2)}</output>
        </label>
      )}
    </fieldset>
  );
}
