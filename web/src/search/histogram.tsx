/** How this query's scores spread over the index, and where the best results lie in that spread. */
import type { Histogram as Data, Item } from "../api/types";
import { count, score } from "../parts/format";

const WIDTH = 320;
const HEIGHT = 56;
const MARKS = 10;

/** The score below which `share` of the items lie, read from the bins. */
function quantile({ edges, counts }: Data, share: number): number {
  const total = counts.reduce((sum, n) => sum + n, 0);
  let below = 0;
  for (const [bin, n] of counts.entries()) {
    const [low, high] = [edges[bin] ?? 0, edges[bin + 1] ?? 0];
    if (n > 0 && below + n >= share * total) return low + ((share * total - below) / n) * (high - low);
    below += n;
  }
  return edges.at(-1) ?? 0;
}

export function Histogram({ data, items }: { data: Data; items: Item[] }) {
  const low = data.edges[0] ?? 0;
  const high = data.edges.at(-1) ?? 1;
  const top = items.slice(0, MARKS).flatMap(({ scores }) => scores["vector"] ?? []);
  const at = (cosine: number): number => ((cosine - low) / (high - low || 1)) * WIDTH;
  // Square roots, so that the few items near the top stay visible beside thousands in the middle.
  const tallest = Math.sqrt(Math.max(1, ...data.counts));
  const median = quantile(data, 0.5);
  const rare = quantile(data, 0.99);
  const best = top.length > 0 ? Math.max(...top) : undefined;
  const words =
    (best === undefined ? "" : `Best ${score(best)}. `) +
    `Half of the items score under ${score(median)}, 99 in 100 under ${score(rare)}.`;
  return (
    <figure class="histogram">
      <svg viewBox={`0 -9 ${WIDTH} ${HEIGHT + 10}`} role="img" aria-label={`Scores over the index. ${words}`}>
        {data.counts.map((n, bin) => {
          const x = at(data.edges[bin] ?? 0);
          const height = n === 0 ? 0 : Math.max(1, (Math.sqrt(n) / tallest) * HEIGHT);
          const width = Math.max(1, at(data.edges[bin + 1] ?? 0) - x - 1);
          return (
            <rect key={bin} class="histogram-bar" x={x} y={HEIGHT - height} width={width} height={height}>
              <title>{`${score(data.edges[bin] ?? 0)} to ${score(data.edges[bin + 1] ?? 0)}: ${count(n)}`}</title>
            </rect>
          );
        })}
        <path class="histogram-axis" d={`M0 ${HEIGHT + 0.5}H${WIDTH}`} />
        {top.map((cosine, rank) => (
          <path key={rank} class="histogram-mark" d={`M${at(cosine)} -8V${HEIGHT}`} />
        ))}
      </svg>
      <div class="histogram-scale" aria-hidden="true">
        <span>{score(low)}</span>
        <span>cosine; the {top.length} best marked</span>
        <span>{score(high)}</span>
      </div>
      <figcaption>{words}</figcaption>
    </figure>
  );
}
