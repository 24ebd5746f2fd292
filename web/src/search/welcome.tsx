/** Above the items before anything is asked: what is here, and queries that are known to find something. */
import type { IndexInfo } from "../api/types";
import { plural } from "../parts/format";
import { ask } from "../state/query";

const NAMES = { image: ["picture"], text: ["text"], video: ["video"], audio: ["sound"], page: ["page"] } as const;

function contents({ kinds }: IndexInfo): string {
  const parts = (Object.keys(NAMES) as (keyof typeof NAMES)[]).flatMap((kind) => {
    const n = kinds[kind] ?? 0;
    return n > 0 ? [plural(n, NAMES[kind][0])] : [];
  });
  return new Intl.ListFormat("en-GB").format(parts);
}

export function Welcome({ info }: { info: IndexInfo }) {
  return (
    <div class="welcome">
      <h2>Search {contents(info)} by meaning</h2>
      <p class="quiet">Type what you look for, drop or paste a picture, or use both at once.</p>
      {info.suggestions.length > 0 && (
        <ul class="examples" aria-label="Examples">
          {info.suggestions.map((text) => (
            <li key={text}>
              <button type="button" class="example" onClick={() => ask({ text, like: null })}>
                {text}
              </button>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
