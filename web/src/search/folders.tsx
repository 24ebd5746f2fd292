/** The folders that the items lie in: a tree that opens level by level, and a filter. */
import { useEffect, useState } from "preact/hooks";

import { fetchFolders, messageOf } from "../api/client";
import type { Folder } from "../api/types";
import { count } from "../parts/format";
import { Icon } from "../parts/icons";
import { info } from "../state/index-info";
import { query, setCondition } from "../state/query";
import { Group } from "./group";

/** The folder that is chosen, "" if none is. */
function chosen(): string {
  const condition = query.value.filter["path"];
  return (condition && !Array.isArray(condition) && condition.starts) || "";
}

function Branch({ folder, alone }: { folder: Folder; alone: boolean }) {
  const here = chosen();
  // A folder from the address is in sight, and so is what the only one holds.
  const [open, setOpen] = useState(alone || (here !== folder.path && here.startsWith(folder.path)));
  const pressed = here === folder.path;
  return (
    <li>
      <div class="folder">
        {folder.folders ? (
          <button
            type="button"
            class="folder-open"
            aria-expanded={open}
            aria-label={`Folders in ${folder.name}`}
            onClick={() => setOpen(!open)}
          />
        ) : (
          <span class="folder-open" />
        )}
        <button
          type="button"
          class="folder-name"
          aria-pressed={pressed}
          title={folder.path}
          onClick={() => setCondition("path", pressed ? null : { starts: folder.path })}
        >
          <Icon name="folder" />
          <span class="filter-value">{folder.name}</span>
          <span class="filter-count">{count(folder.count)}</span>
        </button>
      </div>
      {open && <Level under={folder.path} />}
    </li>
  );
}

function Level({ under }: { under: string }) {
  const [found, setFound] = useState<{ data: Folder[]; left_out: number } | string | null>(null);
  const version = info()?.version;
  useEffect(() => {
    let gone = false;
    fetchFolders(under).then(
      (folders) => gone || setFound(folders),
      (error: unknown) => gone || setFound(messageOf(error)),
    );
    return () => void (gone = true);
  }, [under, version]);
  if (found === null) return null;
  if (typeof found === "string") return <p class="quiet">{found}</p>;
  if (found.data.length === 0) return null;
  const tree = (
    <ul class="folders">
      {found.data.map((folder) => (
        <Branch key={folder.path} folder={folder} alone={found.data.length === 1} />
      ))}
      {found.left_out > 0 && <li class="quiet">and {count(found.left_out)} more</li>}
    </ul>
  );
  if (under !== "") return tree;
  return (
    <Group name="path" label="folders" open>
      {tree}
    </Group>
  );
}

export const Folders = () => <Level under="" />;
