/** Files of a server that wants a key, which neither an <img> nor an <audio> can send. */
import { useEffect, useState } from "preact/hooks";

import { send } from "../api/client";

/** The address of a file once it is fetched, in this page's memory; undefined until then, and while it is not wanted. */
export function useGuarded(src: string, wanted: boolean, onError: (error: unknown) => void): string | undefined {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    if (!wanted) return;
    const abort = new AbortController();
    let made: string | undefined;
    send(src, { signal: abort.signal })
      .then((response) => response.blob())
      .then((blob) => {
        if (abort.signal.aborted) return;
        made = URL.createObjectURL(blob);
        setUrl(made);
      })
      .catch((error: unknown) => abort.signal.aborted || onError(error));
    return () => {
      abort.abort();
      if (made !== undefined) URL.revokeObjectURL(made);
    };
  }, [src, wanted]);
  return url;
}
