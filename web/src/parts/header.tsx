import { apiKey, at } from "../api/client";
import { ask, query, type View } from "../state/query";
import { indexInfo } from "../state/index-info";
import { theme, toggleTheme } from "../state/theme";
import { SearchBar } from "../search/search-bar";
import { Icon } from "./icons";
import { saveFrom } from "./save";

function Tab({ view, children }: { view: View; children: string }) {
  return (
    <button
      type="button"
      class="tab"
      aria-current={query.value.view === view ? "page" : undefined}
      onClick={() => ask({ view })}
    >
      {children}
    </button>
  );
}

function ThemeButton() {
  const dark = theme() === "dark";
  return (
    <button type="button" class="icon-button" aria-label={dark ? "Light theme" : "Dark theme"} onClick={toggleTheme}>
      <Icon name={dark ? "sun" : "moon"} />
    </button>
  );
}

/**
 * The report has a policy of its own (its styles are inline), so it is a page of its own. Where the server wants a key,
 * a link cannot carry it: the report is fetched with it and saved, for it needs nothing but itself.
 */
function GalleryLink() {
  const save = async (event: Event): Promise<void> => {
    if (apiKey.value === null) return;
    event.preventDefault();
    await saveFrom("/gallery", "hardest-negatives.html");
  };
  return (
    <a
      class="tab"
      href={at("/gallery")}
      target="_blank"
      rel="noopener"
      title="The gallery of hardest negatives"
      onClick={(event) => void save(event)}
    >
      Negatives <Icon name="external" />
    </a>
  );
}

export function Header() {
  const index = indexInfo.value;
  const info = index.state === "ready" ? index.info : null;
  const searchable = index.state !== "none" && query.value.view !== "compare";
  return (
    <header class={searchable ? "top" : "top top-plain"}>
      <h1 class="brand">
        <svg class="brand-mark" viewBox="0 0 24 24" aria-hidden="true">
          <circle cx="7.5" cy="16.5" r="4.5" />
          <path d="M10.8 13.2 20 4M15.5 8.500l3.200 3.200" />
        </svg>
        llave
      </h1>
      {searchable && <SearchBar />}
      <nav class="tabs" aria-label="Views">
        {index.state !== "none" && (
          <>
            <Tab view="search">Search</Tab>
            {info?.map === true && <Tab view="map">Map</Tab>}
            {info?.beside != null && <Tab view="beside">Models</Tab>}
            <Tab view="compare">Compare</Tab>
          </>
        )}
        {info?.gallery === true && <GalleryLink />}
        <ThemeButton />
      </nav>
    </header>
  );
}
