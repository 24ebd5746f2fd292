/** An item's picture, a text's first words, or a sign for what has neither. */
import { useEffect, useRef, useState } from "preact/hooks";

import { apiKey, at, send } from "../api/client";
import type { Item } from "../api/types";
import { altOf } from "./format";
import { Icon } from "./icons";

interface Props {
  item: Item;
  src?: string | null;
  /** Instead of the text or the sign, when the picture cannot be had. */
  onBroken?: () => void;
}

export function Thumb({ item, src = item.thumbnail, onBroken }: Props) {
  const [broken, setBroken] = useState<string | null>(null);
  if (src !== null && broken !== src) {
    const Picture = apiKey.value === null ? PlainPicture : GuardedPicture;
    return <Picture key={src} src={src} alt={altOf(item)} onError={onBroken ?? (() => setBroken(src))} />;
  }
  if (item.kind === "text" || item.text !== "") return <span class="text-card">{item.text}</span>;
  return (
    <span class="no-picture">
      <Icon name={item.kind} />
    </span>
  );
}

interface PictureProps {
  src: string;
  alt: string;
  onError: () => void;
}

function PlainPicture({ src, alt, onError }: PictureProps) {
  return <img src={at(src)} alt={alt} loading="lazy" decoding="async" onError={onError} />;
}

/** An <img> cannot send the API key, so the picture is fetched with it, once it comes near the viewport. */
function GuardedPicture({ src, alt, onError }: PictureProps) {
  const place = useRef<HTMLImageElement>(null);
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const abort = new AbortController();
    let made: string | undefined;
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        send(src, { signal: abort.signal })
          .then((response) => response.blob())
          .then((blob) => {
            if (abort.signal.aborted) return;
            made = URL.createObjectURL(blob);
            setUrl(made);
          })
          .catch(() => abort.signal.aborted || onError());
      },
      { rootMargin: "200px" },
    );
    if (place.current) observer.observe(place.current);
    return () => {
      abort.abort();
      observer.disconnect();
      if (made !== undefined) URL.revokeObjectURL(made);
    };
  }, [src]);
  return <img ref={place} src={url} alt={alt} />;
}
