"""Models for the processes of ``--replicas`` that load at once: they do what their inputs say."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llave.errors import UserError


@dataclass
class Card:
    name: str
    fingerprint: str


class Letters:
    """The result for a text is the text in capitals and the number of the process."""

    def __init__(self, number: int, fingerprint: str) -> None:
        self.number = number
        self.fingerprint = fingerprint

    def profile(self) -> Card:
        return Card("letters", self.fingerprint)

    @property
    def work(self) -> Callable[..., Any]:
        return self.run

    def run(self, modality: str, prompt: str | None, inputs: Sequence[str]) -> list[tuple[str, int]]:
        if "fail" in inputs:
            raise ValueError("secret of the model")
        if "slow" in inputs:
            time.sleep(0.5)
        if "hang" in inputs:
            time.sleep(1000)
        if "kill" in inputs:
            os.kill(os.getpid(), signal.SIGKILL)
        return [(each.upper(), self.number) for each in inputs]


def load(folder: Path, number: int) -> list[Letters]:
    """Whose fingerprint is what stands in the folder's file; a file for a number says that it does not load."""
    if (folder / f"broken {number}").exists():
        raise UserError(f"no model for {number}")
    return [Letters(number, (folder / "model").read_text())]
