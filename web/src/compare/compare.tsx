/** Texts and pictures against each other: a look at the model itself, with an index or without. */
import { useEffect, useRef, useState } from "preact/hooks";

import { embed, fetchModels, messageOf } from "../api/client";
import { Icon } from "../parts/icons";
import { Notice } from "../parts/notice";
import { pictureProblem, pictureSink, takePicture } from "../search/take-picture";
import { cosines } from "./cosine";
import { type Entry, Matrix } from "./matrix";

const MOST = 12;
const START: Entry[] = ["a red apple", "a green apple", "a fire engine"].map((text) => ({ text }));

/** The model is asked for once per page. */
let model: Promise<string> | null = null;
const modelId = (): Promise<string> =>
  (model ??= fetchModels()
    .then((models) => models[0]?.id ?? "")
    .catch((error: unknown) => {
      model = null;
      throw error;
    }));

const inputOf = ({ text, image }: Entry): { text?: string; image?: string } =>
  image === undefined ? { text } : { image };

export function Compare({ alone }: { alone?: string }) {
  const [entries, setEntries] = useState<Entry[]>(START);
  const [matrix, setMatrix] = useState<number[][] | null>(null);
  const [failure, setFailure] = useState<string | null>(null);
  const [draft, setDraft] = useState("");
  const [attempt, setAttempt] = useState(0);
  const turn = useRef(0);
  const add = (entry: Entry): void => setEntries((all) => [...all, entry].slice(-MOST));

  useEffect(() => {
    pictureSink.value = (image, name) => add({ text: name, image });
    return () => (pictureSink.value = null);
  }, []);
  useEffect(() => {
    // Only the newest answer counts, in whichever order they arrive.
    const mine = ++turn.current;
    if (entries.length === 0) return setMatrix(null);
    modelId()
      .then((id) => embed(id, entries.map(inputOf)))
      .then(
        (vectors) => {
          if (mine !== turn.current) return;
          setMatrix(cosines(vectors));
          setFailure(null);
        },
        (error: unknown) => mine === turn.current && setFailure(messageOf(error)),
      );
  }, [entries, attempt]);

  return (
    <section class="compare" aria-labelledby="compare-title">
      <h2 id="compare-title">Compare texts and pictures</h2>
      <p class="quiet">
        {alone !== undefined && "This server has no index to search in, so this is its model alone. "}
        Each number is the cosine of two entries: the higher, the more alike. Drop or paste pictures anywhere.
      </p>
      <form
        class="compare-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (draft.trim() === "") return;
          add({ text: draft.trim() });
          setDraft("");
        }}
      >
        <input
          type="text"
          aria-label="A text to add"
          placeholder="A text to add"
          value={draft}
          onInput={(event) => setDraft(event.currentTarget.value)}
        />
        <button type="submit" class="button button-main">
          Add text
        </button>
        <label class="button">
          <input
            class="visually-hidden"
            type="file"
            accept="image/*"
            onChange={(event) => {
              const field = event.currentTarget;
              void takePicture(field.files?.[0] ?? null);
              field.value = "";
            }}
          />
          <Icon name="picture" /> Add picture
        </label>
      </form>
      {pictureProblem.value !== null && <Notice message={pictureProblem.value} />}
      {failure !== null && <Notice message={failure} retry={() => setAttempt(attempt + 1)} />}
      {entries.length > 0 ? (
        <Matrix
          entries={entries}
          values={matrix?.length === entries.length ? matrix : null}
          remove={(at) => setEntries(entries.filter((_, other) => other !== at))}
        />
      ) : (
        <p class="empty">Add two texts, or a text and a picture.</p>
      )}
    </section>
  );
}
