/** One part of the filters, which folds. */
import type { ComponentChildren } from "preact";

import { query } from "../state/query";

interface Props {
  /** Of the field. */
  name: string;
  label?: string;
  open: boolean;
  children: ComponentChildren;
}

export function Group({ name, label = name, open, children }: Props) {
  const active = name in query.value.filter;
  return (
    <details class="filter" open={open || active}>
      <summary>
        <span>{label}</span>
        {active && <span class="dot" role="img" aria-label="active" />}
      </summary>
      {children}
    </details>
  );
}
