/** The page's one reaction to a picture: the query in a view that searches, an entry where pictures are compared. */
import { effect, signal } from "@preact/signals";

import { indexInfo } from "../state/index-info";
import { readPicture } from "../state/picture";
import { askImage, query } from "../state/query";

/** Why the last picture was not taken. */
export const pictureProblem = signal<string | null>(null);

effect(() => {
  query.value; // the user has gone on
  pictureProblem.value = null;
});

/** The comparison puts itself here while it is on the page. */
export const pictureSink = signal<((url: string, name: string) => void) | null>(null);

export async function takePicture(file: File | null): Promise<void> {
  if (!file) return;
  pictureProblem.value = null;
  try {
    const url = await readPicture(file);
    const comparing = query.peek().view === "compare" || indexInfo.peek().state === "none";
    if (comparing) pictureSink.peek()?.(url, file.name);
    else askImage(url);
  } catch (error) {
    pictureProblem.value = error instanceof Error ? error.message : String(error);
  }
}
