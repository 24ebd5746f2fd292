/** Before the first query: what is here, and queries that are known to find something. */
import { useEffect, useState } from "preact/hooks";

import type { IndexInfo, Item } from "../api/types";
import { groups } from "../parts/fields";
import { fileName, plural, titleOf } from "../parts/format";
import { sampleItems } from "../state/index-info";
import { ask, query } from "../state/query";
import { Gallery } from "./gallery";

const SAMPLE = 18;
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
  const found = [...new Set([...texts.filter(shortEnough).slice(0, EXAMPLES - 2), ...values.filter(shortEnough)])];
  return found.slice(0, EXAMPLES);
}

const NAMES = { image: ["picture"], text: ["text"], video: ["video"], page: ["page"] } as const;

function contents({ kinds }: IndexInfo): string {
  const parts = (Object.keys(NAMES) as (keyof typeof NAMES)[]).flatMap((kind) => {
    const n = kinds[kind] ?? 0;
    return n > 0 ? [plural(n, NAMES[kind][0])] : [];
  });
  return new Intl.ListFormat("en-GB").format(parts);
}

export function Welcome({ info }: { info: IndexInfo }) {
  // null until it is known: examples that were shown before would change under the pointer.
  const [sample, setSample] = useState<Item[] | null>(null);
  useEffect(() => {
    // Without it there is less to look at, and nothing is broken.
    sampleItems(SAMPLE, examplesFrom(info, [])[0] ?? "a picture").then(setSample, () => setSample([]));
  }, [info]);
  const examples = sample === null ? [] : examplesFrom(info, sample);
  const filtered = Object.keys(query.value.filter).length > 0;
  return (
    <div class="welcome">
      <h2>Search {contents(info)} by meaning</h2>
      <p class="quiet">
        Type what you look for, drop or paste a picture, or use both at once.
        {filtered && " The filters apply as soon as there is something to look for."}
      </p>
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
      {sample !== null && sample.length > 0 && (
        <>
          <h3 class="section">From the index</h3>
          <Gallery items={sample} label="From the index" />
        </>
      )}
    </div>
  );
}
