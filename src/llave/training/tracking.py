"""Where metrics go besides metrics.jsonl. Nothing leaves the machine unless the user's environment says so."""

import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from llave.errors import UserError

__all__ = ["prepare_tracking"]


def prepare_tracking(trackers: Sequence[str], output: Path) -> None:
    """Check that the trackers are installed, and let them write under ``output``.

    Set only where the user's environment does not: the trackers' folders, and wandb's mode, which is offline.

    Raises:
        UserError: a tracker that is not installed.
    """
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            extra = "" if name == "trackio" else ", or 'llave[track]'"
            raise UserError(f"track: the package {name} is not installed: pip install {name}{extra}")
    settings: dict[str, dict[str, str]] = {
        "tensorboard": {"TENSORBOARD_LOGGING_DIR": str(output / "tensorboard")},
        "wandb": {
            "WANDB_MODE": "offline",
            "WANDB_DIR": str(output.resolve()),
            "WANDB_PROJECT": "llave",
            "WANDB_SILENT": "true",
        },
        "trackio": {"TRACKIO_DIR": str((output / "trackio").resolve())},
    }
    for name in trackers:
        for variable, value in settings[name].items():
            os.environ.setdefault(variable, value)
