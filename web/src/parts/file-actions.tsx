/** The file of an item: opened, kept, or its place copied. */
import { useState } from "preact/hooks";

import { apiKey, at, messageOf } from "../api/client";
import type { Item } from "../api/types";
import { fileName } from "./format";
import { Icon } from "./icons";
import { saveFrom } from "./save";

export function FileActions({ item }: { item: Item }) {
  const [told, setTold] = useState("");
  const { content, path } = item;
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(path); // not there on http, but for this machine
      setTold("Copied.");
    } catch {
      setTold("This browser lets no page copy here; the path stands above.");
    }
  };
  const download = (): void => {
    setTold("");
    saveFrom(content ?? "", fileName(path) || item.id).catch((error: unknown) => setTold(messageOf(error)));
  };
  return (
    <>
      {content !== null && apiKey.value === null && (
        <a class="button" href={at(content)} target="_blank" rel="noopener">
          <Icon name="external" /> Open original
        </a>
      )}
      {content !== null && (
        <button type="button" class="button" onClick={download}>
          <Icon name="download" /> Download
        </button>
      )}
      {path !== "" && (
        <button type="button" class="button" onClick={() => void copy()}>
          <Icon name="copy" /> Copy path
        </button>
      )}
      <span class="quiet" aria-live="polite">
        {told}
      </span>
    </>
  );
}
