/** Filters beside results; before anything is asked, all items in order, under a few words that teach how. */
import type { IndexInfo } from "../api/types";
import { Notice } from "../parts/notice";
import { count, plural, score, stagesText } from "../parts/format";
import { info } from "../state/index-info";
import { asks, query, selection } from "../state/query";
import { failure, loading, results, retry, slow } from "../state/results";
import { Chips } from "./chips";
import { Filters } from "./filters";
import { Gallery, Skeleton } from "./gallery";
import { Histogram } from "./histogram";
import { Mode } from "./mode";
import { PickedBar } from "./picked-bar";
import { Sort } from "./sort";
import { pictureProblem } from "./take-picture";
import { Weight } from "./weight";
import { Welcome } from "./welcome";

function statusText(): string {
  if (slow.value) return "Still searching: the server takes its time.";
  const found = results.value;
  if (!found || loading.value === "first") return "";
  if (found.items.length === 0) return "No results";
  const best = found.best[0]?.score;
  const shown = found.total < found.count ? `the ${count(found.total)} best of ` : "";
  return shown + plural(found.count, "item") + (best == null ? "" : `, best score ${score(best)}`);
}

function Outcome() {
  const found = results.value;
  if (failure.value !== null && found === null) return <Notice message={failure.value} retry={retry} />;
  if (!found) return <Skeleton count={24} />;
  if (found.items.length === 0) {
    if (!filtered()) return <p class="empty">Nothing is in the index yet.</p>;
    return (
      <p class="empty">
        Nothing in the index passes these filters. Remove one of them above.{found.hint !== null && ` ${found.hint}`}
      </p>
    );
  }
  return (
    <>
      {failure.value !== null && <Notice message={failure.value} retry={retry} />}
      <Gallery found={found} label="Results" />
    </>
  );
}

const idle = (): boolean => !asks.value && selection.value === null;
const filtered = (): boolean => Object.keys(query.value.filter).length > 0;

function ResultsHead({ index }: { index: IndexInfo | null }) {
  const found = results.value;
  const both = query.value.text.trim() !== "" && query.value.image !== null && selection.value === null;
  return (
    <div class="head">
      <div class="head-query">
        <Chips />
        {both && <Weight />}
        {query.value.text.trim() !== "" && query.value.image === null && selection.value === null && <Mode />}
        <p class="head-status" role="status">
          {statusText()}
          {found?.tookMs != null && !idle() && !slow.value && loading.value !== "first" && (
            <span class="quiet" title={stagesText(found.stages)}>
              {" "}
              in {Math.max(1, Math.round(found.tookMs))} ms
            </span>
          )}
        </p>
      </div>
      {index && selection.value === null && <Sort info={index} />}
      {found?.histogram && found.histogram.counts.length > 0 && (
        <Histogram data={found.histogram} items={found.best} />
      )}
    </div>
  );
}

export function SearchView() {
  const index = info();
  return (
    <div class="columns" data-busy={loading.value === "first"}>
      {index && <Filters info={index} />}
      <section class="results" aria-label="Results">
        {pictureProblem.value !== null && <Notice message={pictureProblem.value} />}
        {index && idle() && !filtered() && <Welcome info={index} />}
        <ResultsHead index={index} />
        <Outcome />
        <PickedBar />
      </section>
    </div>
  );
}
