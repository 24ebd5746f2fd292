/** Above the items before anything is asked: what is here, and queries that are known to find something. */
import { useEffect, useState } from "preact/hooks";

import type { IndexInfo, Item } from "../api/types";
import { groups } from "../parts/fields";
import { fileName, plural, titleOf } from "../parts/format";
import { ask } from "../state/query";

const EXAMPLES = 7;

const shortEnough = (text: string): boolean => text.length >= 3 && text.length <= 32;

/** Names of items first, for they read like queries; then values of the fields that tell most apart. */
function examplesFrom(info: IndexInfo, sample: Item[]): string[] {
  const texts = sample.filter((item) => titleOf(item) !== fileName(item.path)).map(titleOf);
  const values = info.fields
    .filter((field) => field.type === "string" && groups(field))
    .map(({ values }) => values ?? [])
    .sort((a, b) => b.length - a.length)
    .flatMap((counted) => counted.slice(0, 2).map(({ value }) => String(value)));
  const names = [...new Set(texts.filter(shortEnough))].slice(0, EXAMPLES - 2);
  return [...new Set([...names, ...values.filter(shortEnough)])].slice(0, EXAMPLES);
}

const NAMES = { image: ["picture"], text: ["text"], video: ["video"], audio: ["sound"], page: ["page"] } as const;

function contents({ kinds }: IndexInfo): string {
  const parts = (Object.keys(NAMES) as (keyof typeof NAMES)[]).flatMap((kind) => {
    const n = kinds[kind] ?? 0;
    return n > 0 ? [plural(n, NAMES[kind][0])] : [];
  });
  return new Intl.ListFormat("en-GB").format(parts);
}

interface Props {
  info: IndexInfo;
  /** The first items; null until they are known. */
  sample: Item[] | null;
}

export function Welcome({ info, sample }: Props) {
  // Chosen once: examples must not change under the pointer when the order does.
  const [examples, setExamples] = useState<string[]>([]);
  useEffect(() => {
    if (sample !== null && examples.length === 0) setExamples(examplesFrom(info, sample));
  }, [sample]);
  return (
    <div class="welcome">
      <h2>Search {contents(info)} by meaning</h2>
      <p class="quiet">Type what you look for, drop or paste a picture, or use both at once.</p>
      {examples.length > 0 && (
        <ul class="examples" aria-label="Examples">
          {examples.map((text) => (
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
