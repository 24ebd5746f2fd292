/** An item's picture, a text's first words, or a sign for what has neither. */
import { useEffect, useRef, useState } from "preact/hooks";

import { apiKey, at } from "../api/client";
import type { Item } from "../api/types";
import { altOf } from "./format";
import { markClear } from "./clear";
import { useGuarded } from "./guarded";
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
  return <img src={at(src)} alt={alt} loading="lazy" decoding="async" onError={onError} onLoad={markClear} />;
}

/** An <img> cannot send the API key, so the picture is fetched with it, once it comes near the viewport. */
function GuardedPicture({ src, alt, onError }: PictureProps) {
  const place = useRef<HTMLImageElement>(null);
  const [near, setNear] = useState(false);
  const url = useGuarded(src, near, onError);
  useEffect(() => {
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        observer.disconnect();
        setNear(true);
      },
      { rootMargin: "200px" },
    );
    if (place.current) observer.observe(place.current);
    return () => observer.disconnect();
  }, []);
  return <img ref={place} src={url} alt={alt} onLoad={markClear} />;
}
