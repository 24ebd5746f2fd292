/** Files that the user keeps. */
import { send } from "../api/client";

export type ExportFormat = "csv" | "json" | "zip";

export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Fetched with the key, which a link cannot carry. */
export async function saveFrom(path: string, name: string): Promise<void> {
  save(await (await send(path)).blob(), name);
}

/** Items as a table, or their files; how many have no file in it. */
export async function saveItems(ids: string[], format: ExportFormat): Promise<number> {
  const response = await send("/v1/export", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ ids, format }),
  });
  const name = /filename="([^"]+)"/.exec(response.headers.get("Content-Disposition") ?? "")?.[1];
  save(await response.blob(), name ?? `llave.${format}`);
  return Number(response.headers.get("X-Left-Out") ?? 0);
}
