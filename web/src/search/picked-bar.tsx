/** What can be done with the chosen items, as long as there are some. */
import { useState } from "preact/hooks";

import { messageOf } from "../api/client";
import { count, plural } from "../parts/format";
import { Icon } from "../parts/icons";
import { type ExportFormat, saveItems } from "../parts/save";
import { clearPicked, MOST_PICKED, pickAll, picked } from "../state/picked";
import { selection } from "../state/query";
import { results } from "../state/results";

const FORMATS: [ExportFormat, string, string][] = [
  ["csv", "CSV", "Fields as a table"],
  ["json", "JSON", "Fields as JSON"],
  ["zip", "Files", "The original files as a ZIP"],
];

export function PickedBar() {
  const [busy, setBusy] = useState(false);
  const [message, setMessage] = useState("");
  const ids = picked.value;
  if (ids.size === 0) return null;
  const total = Math.min(results.value?.total ?? 0, MOST_PICKED);
  const run = async (work: () => Promise<string>): Promise<void> => {
    setBusy(true);
    setMessage("");
    await work().then(setMessage, (error: unknown) => setMessage(messageOf(error)));
    setBusy(false);
  };
  const take = (format: ExportFormat) => () =>
    run(async () => {
      const leftOut = await saveItems([...ids], format);
      return leftOut > 0 ? `${plural(leftOut, "item")} without a file; the ZIP says which` : "";
    });
  return (
    <div class="picked" role="toolbar" aria-label="Chosen items">
      <span class="picked-count" aria-live="polite">
        {count(ids.size)} chosen
      </span>
      {ids.size < total && (
        <button
          type="button"
          class="button"
          disabled={busy}
          onClick={() => void run(() => pickAll().then(() => ""))}
        >
          All {count(total)}
        </button>
      )}
      <button
        type="button"
        class="button"
        title="List the chosen items alone"
        onClick={() => (selection.value = [...ids])}
      >
        List
      </button>
      <span class="picked-save">
        {FORMATS.map(([format, label, title]) => (
          <button
            key={format}
            type="button"
            class="button"
            title={title}
            aria-label={`Save as ${label}`}
            disabled={busy}
            onClick={() => void take(format)()}
          >
            {format === "csv" && <Icon name="download" />}
            {label}
          </button>
        ))}
      </span>
      <button type="button" class="icon-button" aria-label="Choose none" title="Choose none (Esc)" onClick={clearPicked}>
        <Icon name="close" />
      </button>
      {message !== "" && (
        <p class="picked-message" role="alert">
          {message}
        </p>
      )}
    </div>
  );
}
