import { render } from "preact";

import { App } from "./app";
import { loadIndex } from "./state/index-info";
import { startHistory } from "./state/query";
import { startSearch } from "./state/results";
import { startTheme } from "./state/theme";
import "./styles/base.css";
import "./styles/shell.css";
import "./styles/search.css";
import "./styles/filters.css";
import "./styles/gallery.css";
import "./styles/detail.css";
import "./styles/map.css";
import "./styles/compare.css";
import "./styles/beside.css";

startTheme();
startHistory();
startSearch();
void loadIndex();

const root = document.getElementById("app");
if (root) render(<App />, root);
