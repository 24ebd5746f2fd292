/** The shell: header, the chosen view, and what lies over it. */
import { Beside } from "./beside/beside";
import { Compare } from "./compare/compare";
import { MapView } from "./map/map-view";
import { Detail } from "./parts/detail";
import { DropTarget } from "./parts/drop-target";
import { Header } from "./parts/header";
import { KeyPrompt } from "./parts/key-prompt";
import { Notice } from "./parts/notice";
import { SearchView } from "./search/search-view";
import { indexInfo, loadIndex } from "./state/index-info";
import { query } from "./state/query";

function View() {
  const index = indexInfo.value;
  if (index.state === "none") return <Compare alone={index.message} />;
  if (query.value.view === "compare") return <Compare />;
  if (index.state === "failed") return <Notice message={index.message} retry={() => void loadIndex()} />;
  if (query.value.view === "beside" && index.state === "ready" && index.info.beside !== null) {
    return <Beside names={[index.info.model, index.info.beside]} />;
  }
  if (query.value.view !== "map") return <SearchView />;
  return (
    <div class="map-layout">
      <MapView />
      <SearchView />
    </div>
  );
}

export function App() {
  return (
    <>
      <a class="skip" href="#main" onClick={skip}>
        Skip to the results
      </a>
      <Header />
      <main id="main" tabIndex={-1}>
        <View />
      </main>
      <Detail />
      <DropTarget />
      <KeyPrompt />
    </>
  );
}

/** The address is the query's, so the link must not change it. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("main")?.focus();
}
