import { info } from "../state/index-info";
import type { Mode as How } from "../api/types";
import { ask, query } from "../state/query";

const MODES: [How, string, string][] = [
  ["hybrid", "Both", "By meaning and by words"],
  ["vector", "Meaning", "By the vector alone"],
  ["words", "Words", "By the words of its texts, name and fields alone"],
];

/** How a text is compared with the items; what nobody has chosen is the index's own way. */
export function Mode() {
  const index = info();
  if (!index?.words) return null;
  const now = query.value.mode ?? index.pipeline.mode;
  return (
    <fieldset class="weight">
      <legend class="visually-hidden">How the text is compared</legend>
      <div class="segments">
        {MODES.map(([mode, label, title]) => (
          <label key={mode} title={title}>
            <input type="radio" name="mode" checked={now === mode} onChange={() => ask({ mode })} />
            <span>{label}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
