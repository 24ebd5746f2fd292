"""Embeddings on disk, so that nothing is encoded twice: not in a second evaluation, nor after a kill.

A key is the model's fingerprint (weights, structure, tokenizer, processor, library versions) plus the content: the
text and the bytes of the picture or video. Every batch is written as one safetensors shard, whole or not at all; many
small shards are merged into one now and then. A shard
that cannot be read is ignored with a warning. Vectors are mapped into memory, not read, until they are asked for.
"""

import hashlib
import json
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import save_file
from safetensors.torch import load_file

from llave.files import remove_leftovers, whole_file

if TYPE_CHECKING:
    from sentence_transformers.base import BaseModel

__all__ = ["LIBRARIES", "EmbeddingCache", "model_fingerprint", "settings_fingerprint", "weights_fingerprint"]

KEY_BYTES = 32
SMALL_SHARD = 8192
"""Rows below which a shard is merged with others."""
MERGE_SHARDS = 256
LIBRARIES = ("torch", "torchvision", "transformers", "sentence-transformers", "pillow")
"""Whose versions may change an embedding of the same weights."""


def model_fingerprint(model: "BaseModel") -> str:
    """SHA-256, in hexadecimal, of all that decides a model's embeddings: weights, modules, configuration, prompts."""
    digest = hashlib.sha256()
    for text in [*(f"{name} {version(name)}" for name in LIBRARIES), *_settings(model)]:
        digest.update(text.encode())
    _add_weights(digest, model)
    return digest.hexdigest()


def weights_fingerprint(model: "BaseModel") -> str:
    """SHA-256, in hexadecimal, of a model's weights and their type alone."""
    digest = hashlib.sha256()
    _add_weights(digest, model)
    return digest.hexdigest()


def settings_fingerprint(model: "BaseModel") -> str:
    """The same of its modules, configuration, tokenizer, processor and prompts."""
    return hashlib.sha256("".join(_settings(model)).encode()).hexdigest()


def _add_weights(digest: Any, model: "BaseModel") -> None:
    import torch

    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _settings(model: "BaseModel") -> list[str]:
    texts = [str(model), repr(sorted(model.prompts.items())), repr(model.default_prompt_name)]
    processor: Any = getattr(model, "processor", None) or model.tokenizer
    tokenizer: Any = getattr(processor, "tokenizer", processor)
    texts.append(repr(getattr(processor, "chat_template", None)))
    parts = (processor, *(getattr(processor, name, None) for name in ("image_processor", "feature_extractor")))
    texts += [part.to_json_string() for part in parts if part is not None and hasattr(part, "to_json_string")]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    texts.append(_rules(backend) if backend is not None else repr(tokenizer))
    texts.append(f"{model.max_seq_length} {tokenizer.padding_side} {tokenizer.truncation_side}")
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if config is not None and hasattr(config, "to_json_string"):
            texts.append(config.to_json_string())
            break
    return texts


def _rules(backend: Any) -> str:
    """A fast tokenizer without its truncation and padding, which every call sets anew."""
    rules = json.loads(backend.to_str())
    return json.dumps({key: value for key, value in rules.items() if key not in ("truncation", "padding")})


class EmbeddingCache:
    """Embeddings of one model under ``root/FINGERPRINT/*.safetensors``."""

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.folder = root / fingerprint
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.folder)
        self._known: dict[bytes, NDArray[np.float32]] = {}
        self._small: list[Path] = []
        for path in sorted(self.folder.glob("*.safetensors")):
            self._read(path)
        self._merge()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: bytes) -> NDArray[np.float32] | None:
        """The embedding (D,) of a key, or None."""
        return self._known.get(key)

    def put(self, keys: Sequence[bytes], embedding_BD: NDArray[np.float32]) -> None:
        """Keep embeddings; when this returns, they survive a kill."""
        if not keys:
            return
        self._small.append(self._write(keys, embedding_BD))
        self._known.update(zip(keys, embedding_BD, strict=True))
        if len(self._small) >= MERGE_SHARDS:
            self._merge()

    def _write(self, keys: Sequence[bytes], embedding_BD: NDArray[np.float32]) -> Path:
        packed = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), KEY_BYTES)
        path = self.folder / f"{hashlib.sha256(packed.tobytes()).hexdigest()[:32]}.safetensors"
        with whole_file(path) as partial:
            save_file({"keys": packed.copy(), "embeddings": np.ascontiguousarray(embedding_BD)}, partial)
        return path

    def _merge(self) -> None:
        """Small shards as one. A kill between writing and deleting leaves both, which is the same cache."""
        if len(self._small) < 2:
            return
        loaded = [shard for path in self._small if (shard := _load(path)) is not None]
        keys = [key.tobytes() for shard_keys, _ in loaded for key in shard_keys]
        merged = self._write(keys, np.concatenate([embeddings for _, embeddings in loaded]))
        for path in self._small:
            if path != merged:
                path.unlink(missing_ok=True)
        self._small = []
        self._read(merged)

    def _read(self, path: Path) -> None:
        shard = _load(path)
        if shard is None:
            return
        keys, embeddings = shard
        self._known.update((key.tobytes(), embedding) for key, embedding in zip(keys, embeddings, strict=True))
        if len(keys) < SMALL_SHARD:
            self._small.append(path)


def _load(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.float32]] | None:
    """Keys (N, 32) and embeddings (N, D), mapped into memory; None, with a warning, of a damaged shard."""
    try:
        shard = load_file(path)
        keys, embeddings = shard["keys"].numpy(), shard["embeddings"].numpy()
        if keys.shape != (len(embeddings), KEY_BYTES) or embeddings.dtype != np.float32 or embeddings.ndim != 2:
            raise ValueError(f"unexpected shapes {keys.shape}, {embeddings.shape}")
    except FileNotFoundError:
        return None  # another evaluation of the same model has merged it
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        warnings.warn(f"{path}: damaged embedding cache, ignored ({error})", RuntimeWarning, stacklevel=3)
        return None
    return keys, embeddings
