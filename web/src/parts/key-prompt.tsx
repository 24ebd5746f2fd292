import { useState } from "preact/hooks";

import { keyRequest } from "../api/client";
import { Modal } from "./modal";

/** Asks for the API key when the server wants one; the request that needed it then goes on. */
export function KeyPrompt() {
  const request = keyRequest.value;
  return request && <Form again={request.again} answer={request.answer} />;
}

function Form({ again, answer }: { again: boolean; answer: (key: string | null) => void }) {
  const [key, setKey] = useState("");
  return (
    <Modal label="API key" class="modal-small" onClose={() => answer(null)}>
      <form
        class="key-form"
        onSubmit={(event) => {
          event.preventDefault();
          if (key.trim() !== "") answer(key.trim());
        }}
      >
        <h2>This server needs an API key</h2>
        {again && <p role="alert">The key was not accepted.</p>}
        <label>
          API key
          <input
            type="password"
            autoComplete="off"
            spellcheck={false}
            value={key}
            autoFocus
            onInput={(event) => setKey(event.currentTarget.value)}
          />
        </label>
        <p class="quiet">It is kept until this tab is closed.</p>
        <div class="row-end">
          <button type="button" class="button" onClick={() => answer(null)}>
            Cancel
          </button>
          <button type="submit" class="button button-main">
            Continue
          </button>
        </div>
      </form>
    </Modal>
  );
}
