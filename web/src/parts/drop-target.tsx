/** A picture dropped or pasted anywhere becomes the query. */
import { useEffect, useState } from "preact/hooks";

import { takePicture } from "../search/take-picture";
import { fileOf } from "../state/picture";

export function DropTarget() {
  const [over, setOver] = useState(false);
  useEffect(() => {
    const holdsFile = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    const drag = (event: DragEvent): void => {
      if (!holdsFile(event)) return;
      event.preventDefault();
      setOver(true);
    };
    const leave = (event: DragEvent): void => {
      if (event.relatedTarget === null) setOver(false);
    };
    const drop = (event: DragEvent): void => {
      setOver(false);
      if (!holdsFile(event)) return;
      event.preventDefault();
      void takePicture(fileOf(event.dataTransfer));
    };
    const paste = (event: ClipboardEvent): void => {
      const file = fileOf(event.clipboardData);
      if (!file) return; // text goes where the cursor is
      event.preventDefault();
      void takePicture(file);
    };
    addEventListener("dragover", drag);
    addEventListener("dragleave", leave);
    addEventListener("drop", drop);
    addEventListener("paste", paste);
    return () => {
      removeEventListener("dragover", drag);
      removeEventListener("dragleave", leave);
      removeEventListener("drop", drop);
      removeEventListener("paste", paste);
    };
  }, []);
  return over ? <div class="drop-veil">Drop the picture to search with it</div> : null;
}
