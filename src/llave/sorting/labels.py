"""Labels as a user writes them: in a line, in a file with prompts, or by examples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from llave.data.encodings import decode_text
from llave.data.tables import is_table, read_table
from llave.encode.encoder import Encoder
from llave.encode.forward import Refused
from llave.encode.item import Item
from llave.errors import UserError
from llave.models.about import trained_temperature
from llave.sorting.classify import NONE, PROMPT, TEMPERATURE, Classified, Encode, Examples, classify
from llave.sorting.things import Things

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["classify_things", "embed_texts", "prompts_of", "read_examples", "read_labels"]


def classify_things(
    things: Things,
    model: "SentenceTransformer",
    labels: Sequence[str] | Mapping[str, Sequence[str]] = (),
    *,
    prompt: str | None = None,
    prompts: Sequence[str] = (),
    examples: Mapping[str, str] | Examples | None = None,
    threshold: float = 0.0,
    temperature: float | None = None,
    seed: int = 0,
) -> Classified:
    """See :meth:`llave.search.index.Index.classify`.

    Args:
        things: with vectors.
        prompt: before every label's prompts, as sentence-transformers takes it; None is the model's own.
    """
    known = _as_examples(things, examples) if isinstance(examples, Mapping) else examples
    named = labels if isinstance(labels, Mapping) else dict.fromkeys(labels, ())
    if not named and known is not None:
        named = dict.fromkeys(sorted(set(known.labels)), ())
    return classify(
        things,
        prompts_of(named, prompts),
        embed_texts(model, prompt),
        examples=known,
        threshold=threshold,
        temperature=temperature or trained_temperature(model) or TEMPERATURE,
        seed=seed,
    )


def embed_texts(model: "SentenceTransformer", prompt: str | None = None) -> Encode:
    """Unit vectors (N, D) of texts by a model, as it takes queries.

    Args:
        prompt: before each; None is the model's own for queries.
    """
    encoder = Encoder(model, prompt=model.prompts.get("query") or "" if prompt is None else prompt)

    def embed(texts: Sequence[str]) -> NDArray[np.float32]:
        found = []
        for text, outcome in zip(texts, encoder([Item(text) for text in texts]), strict=True):
            if isinstance(outcome, Refused):
                raise UserError(f"{text!r:.80}: {outcome.reason}")
            found.append(outcome)
        return np.stack(found)

    return embed


def _as_examples(things: Things, named: Mapping[str, str]) -> Examples:
    """The items that are named; those are labelled so.

    Raises:
        UserError: one that is not there.
    """
    places = things.places()
    unknown = [name for name in named if name not in places]
    if unknown:
        more = f" nor {len(unknown) - 1:,} more" if len(unknown) > 1 else ""
        raise UserError(f"examples: no item {unknown[0]!r:.200}{more}; write paths or ids as `llave search` shows them")
    assert things.vector_ND is not None
    found = [places[name] for name in named]
    return Examples(things.vector_ND[found], list(named.values()), [things.all[place].id for place in found])


def read_labels(said: str) -> dict[str, Sequence[str]]:
    """``"cats, dogs"``, or a text file with a label a line, each with prompts of its own if it has any: ``cats: a photo
    of a cat | a kitten``. Labels without prompts have none yet.

    Raises:
        UserError: no such file, a label twice, or one that is called "none".
    """
    path = Path(said)
    if path.suffix.lower() == ".txt":
        if not path.is_file():
            raise UserError(f"{said}: no such file of labels")
        lines = decode_text(path.read_bytes(), said).splitlines()
    else:
        lines = said.split(",")
    found: dict[str, Sequence[str]] = {}
    for line in lines:
        label, _, prompts = line.partition(": ")
        label = label.strip()
        if not label or label.startswith("#"):
            continue
        _check(label, said)
        if label in found:
            raise UserError(f"{said}: the label {label!r} twice")
        found[label] = [prompt.strip() for prompt in prompts.split("|") if prompt.strip()]
    return found


def prompts_of(labels: Mapping[str, Sequence[str]], templates: Sequence[str] = ()) -> dict[str, Sequence[str]]:
    """Every label with its prompts, those of the templates where it has none of its own.

    Raises:
        UserError: a template without ``{label}``.
    """
    templates = templates or (PROMPT,)
    for template in templates:
        if "{label}" not in template:
            raise UserError(f'prompt {template!r}: has no {{label}}, as in "{PROMPT}"')
    return {
        label: prompts or [template.replace("{label}", label) for template in templates]
        for label, prompts in labels.items()
    }


def read_examples(path: Path) -> dict[str, str]:
    """The label of each item that a table with the columns ``item`` and ``label`` names.

    Raises:
        UserError: no such table or column, or a label that is empty or called "none".
    """
    if not is_table(path) or not path.is_file():
        raise UserError(f"{path}: no table of examples (.csv, .jsonl, …) with the columns item and label")
    found: dict[str, str] = {}
    for number, row in enumerate(read_table(path), start=1):
        if isinstance(row, Exception):
            raise row
        for name in ("item", "label"):
            if not isinstance(row, dict) or name not in row:
                raise UserError(f"{path} row {number}: no column {name!r}; wanted are item and label")
        label = str(row["label"]).strip()
        _check(label, f"{path} row {number}")
        found[str(row["item"])] = label
    return found


def _check(label: str, where: str) -> None:
    if not label or label == NONE:
        raise UserError(f"{where}: a label is empty or called {NONE!r}, which is what an item without one is called")
