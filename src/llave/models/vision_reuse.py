"""Compute a frozen vision tower's features once per picture, in memory and on disk.

The key is the content of the decoded picture, so a picture that appears under two paths, in two data sets or
in two epochs is computed once; the numbers are those of the uncached path, bit for bit where the tower is
independent of its batch (see the test).
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from llave.data.door import named
from llave.errors import DataError
from llave.files import whole_file

__all__ = ["FeatureCache", "picture_key"]


def picture_key(picture: Image.Image) -> str:
    """Hash of the decoded content: mode, size and pixels."""
    head = f"{picture.mode} {picture.size}".encode()
    return hashlib.blake2b(head + picture.tobytes(), digest_size=16).hexdigest()


class FeatureCache:
    """Features by picture, computed on first sight.

    Args:
        compute: pictures -> features (N, tokens, dim) on the CPU.
        path: a safetensors file to start from and to :meth:`save` to. ``fingerprint`` guards it: features of
            other weights or another preprocessing are not used.
        batch_size: pictures computed at once.
    """

    def __init__(
        self,
        compute: Callable[[list[Image.Image]], Tensor],
        *,
        path: Path | None = None,
        fingerprint: str = "",
        batch_size: int = 64,
    ) -> None:
        self.compute = compute
        self.path = path
        self.fingerprint = fingerprint
        self.batch_size = batch_size
        self.computed = 0
        self._features: dict[str, Tensor] = {}
        if path is not None and path.is_file():
            self._features = self._load(path)

    @classmethod
    def of(cls, compute: Callable[[list[Image.Image]], Tensor], known: Mapping[str, Tensor]) -> "FeatureCache":
        """In memory alone, with features (tokens, dim) that are known by their :func:`picture_key`."""
        made = cls(compute)
        made._features = dict(known)
        return made

    def __len__(self) -> int:
        return len(self._features)

    def features(self, pictures: list[Any]) -> Tensor:
        """Features (N, tokens, dim) of PIL pictures, in order."""
        keys = [picture_key(picture) for picture in pictures]
        missing = {key: picture for key, picture in zip(keys, pictures, strict=True) if key not in self._features}
        todo = list(missing.items())
        for start in range(0, len(todo), self.batch_size):
            chunk = todo[start : start + self.batch_size]
            features = self.compute([picture for _, picture in chunk])
            self.computed += len(chunk)
            # Clones: a slice would keep the whole batch alive, and safetensors refuses shared memory.
            self._features.update((key, row.clone()) for (key, _), row in zip(chunk, features, strict=True))
        return torch.stack([self._features[key] for key in keys])

    def save(self) -> None:
        """Write the cache to ``path``, whole or not at all."""
        if self.path is None or not self.computed:
            return
        keys = sorted(self._features)
        with whole_file(self.path) as partial:
            save_file(
                {"features": torch.stack([self._features[key] for key in keys])} if keys else {},
                partial,
                metadata={"keys": "\n".join(keys), "fingerprint": self.fingerprint},
            )
        self.computed = 0

    def _load(self, path: Path) -> dict[str, Tensor]:
        from safetensors import safe_open

        try:
            with named(str(path)), safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("fingerprint") != self.fingerprint:
                    return {}
                return dict(zip(metadata["keys"].split("\n"), file.get_tensor("features"), strict=True))
        except DataError:
            return {}  # an unreadable cache is an empty one: everything in it can be computed again
