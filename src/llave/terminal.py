"""What the terminal shows: our progress and messages, not each library's own."""

import logging
import os
import warnings

__all__ = ["printable", "quiet_libraries"]


def printable(text: object) -> str:
    """In one line, and unable to move the cursor: names of files may hold anything."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in str(text)).split())


def quiet_libraries() -> None:
    """Errors only from transformers and sentence-transformers, without their loading bars."""
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    for name in ("sentence_transformers", "bitsandbytes"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("sentence_transformers", "accelerate", "transformers"):
        warnings.filterwarnings("ignore", category=FutureWarning, module=name)
