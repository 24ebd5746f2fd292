import { Icon } from "./icons";

/** One line that says what went wrong, in the server's words, and the way to try again. */
export function Notice({ message, retry }: { message: string; retry?: () => void }) {
  return (
    <div class="notice" role="alert">
      <Icon name="warning" />
      <p>{message}</p>
      {retry && (
        <button type="button" class="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}
