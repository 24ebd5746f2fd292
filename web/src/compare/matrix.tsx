import { score } from "../parts/format";
import { Icon } from "../parts/icons";

export interface Entry {
  /** The text itself, or the name of the picture. */
  text: string;
  /** A data: address. */
  image?: string;
}

interface Props {
  entries: Entry[];
  values: number[][] | null;
  remove: (at: number) => void;
}

/** A table whose cells are shaded by their cosine, the whole range from the least to the most alike pair. */
export function Matrix({ entries, values, remove }: Props) {
  const others = values?.flatMap((row, i) => row.filter((_, j) => i !== j)) ?? [];
  const low = Math.min(...others);
  const range = Math.max(...others) - low || 1;
  const shade = (value: number): string => `${Math.round(6 + 44 * Math.min(1, Math.max(0, (value - low) / range)))}%`;
  return (
    <div class="matrix" role="region" aria-label="Cosines" tabIndex={0}>
      <table>
        <thead>
          <tr>
            <td />
            {entries.map((entry, at) => (
              <th key={at} scope="col">
                <Name entry={entry} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {entries.map((entry, i) => (
            <tr key={i}>
              <th scope="row">
                <span class="matrix-row">
                  <Name entry={entry} />
                  <button type="button" class="icon-button" aria-label={`Remove ${entry.text}`} onClick={() => remove(i)}>
                    <Icon name="close" />
                  </button>
                </span>
              </th>
              {entries.map((_, j) => {
                const value = values?.[i]?.[j];
                return value === undefined ? (
                  <td key={j}>…</td>
                ) : i === j ? (
                  <td key={j} class="matrix-self">
                    1
                  </td>
                ) : (
                  <td key={j} style={{ "--share": shade(value) }}>
                    {score(value)}
                  </td>
                );
              })}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Name({ entry }: { entry: Entry }) {
  if (entry.image !== undefined) return <img src={entry.image} alt={entry.text} title={entry.text} />;
  return <span class="matrix-text">{entry.text}</span>;
}
