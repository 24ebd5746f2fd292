/** Where a query is typed, a picture chosen, and both are weighed. */
import { useEffect, useRef } from "preact/hooks";

import { Icon } from "../parts/icons";
import { ask, askText, query } from "../state/query";
import { focusGallery } from "./gallery";
import { takePicture } from "./take-picture";

export function SearchBar() {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const slash = (event: KeyboardEvent): void => {
      const typing = event.target instanceof Element && event.target.closest("input, textarea, select, dialog");
      if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typing) return;
      event.preventDefault();
      input.current?.focus();
      input.current?.select();
    };
    addEventListener("keydown", slash);
    return () => removeEventListener("keydown", slash);
  }, []);
  return (
    <search class="bar">
      <form class="bar-form" onSubmit={(event) => event.preventDefault()}>
        <Icon name="search" />
        <input
          ref={input}
          class="bar-input"
          type="search"
          aria-label="Search by a text"
          aria-keyshortcuts="/"
          placeholder={query.value.image ? "Add words to the picture" : "Describe what you look for, or drop a picture"}
          autoComplete="off"
          spellcheck={false}
          value={query.value.text}
          onInput={(event) => askText(event.currentTarget.value)}
          onKeyDown={onKey}
        />
        <kbd class="bar-hint" aria-hidden="true">
          /
        </kbd>
        <label class="bar-file" title="Search with a picture">
          <input
            class="visually-hidden"
            type="file"
            accept="image/*"
            aria-label="Search with a picture"
            onChange={(event) => {
              const field = event.currentTarget;
              void takePicture(field.files?.[0] ?? null);
              field.value = ""; // the same file again is a change too
            }}
          />
          <Icon name="picture" />
        </label>
      </form>
    </search>
  );
}

function onKey(event: KeyboardEvent): void {
  if (event.key === "Escape" && query.peek().text !== "") {
    event.preventDefault();
    ask({ text: "" });
  } else if (event.key === "ArrowDown") {
    event.preventDefault();
    focusGallery();
  }
}
