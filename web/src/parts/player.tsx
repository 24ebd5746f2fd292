/** A sound, played when it is asked for: nothing of it is fetched before. */
import { useState } from "preact/hooks";

import { apiKey, at, messageOf } from "../api/client";
import { useGuarded } from "./guarded";
import { Icon } from "./icons";

interface Props {
  src: string;
  label: string;
}

export function Player({ src, label }: Props) {
  const [problem, setProblem] = useState<string | null>(null);
  const Sound = apiKey.value === null ? PlainSound : GuardedSound;
  return (
    // The arrows belong to the player while it has the focus, not to the list that the dialog steps through.
    <div class="player" onKeyDown={(event) => event.key.startsWith("Arrow") && event.stopPropagation()}>
      <span class="no-picture">
        <Icon name="audio" />
      </span>
      {problem === null ? <Sound src={src} label={label} onProblem={setProblem} /> : <p role="alert">{problem}</p>}
    </div>
  );
}

interface SoundProps extends Props {
  onProblem: (message: string) => void;
}

const UNPLAYABLE = "The file is not where it was, or this browser cannot play it.";

function PlainSound({ src, label, onProblem }: SoundProps) {
  return <audio controls preload="none" src={at(src)} aria-label={label} onError={() => onProblem(UNPLAYABLE)} />;
}

/** An <audio> cannot send the API key, so the file is fetched with it, once somebody wants to hear it. */
function GuardedSound({ src, label, onProblem }: SoundProps) {
  const [wanted, setWanted] = useState(false);
  const url = useGuarded(src, wanted, (error) => onProblem(messageOf(error)));
  if (url !== undefined) return <audio controls src={url} aria-label={label} onError={() => onProblem(UNPLAYABLE)} />;
  return (
    <button type="button" class="button" disabled={wanted} onClick={() => setWanted(true)}>
      {wanted ? "Loading…" : "Load the sound"}
    </button>
  );
}
