"""Embeddings on disk, so that a second evaluation of the same model encodes nothing twice.

A key is the model's fingerprint (weights, structure, tokenizer and processor) plus the content: the text and
the bytes of the picture. Each flush writes one safetensors shard to a temporary file and renames it, so a
killed run leaves whole shards only. A shard that cannot be read is ignored with a warning.
"""

import hashlib
import os
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from llave.data.media import media_bytes
from llave.data.mmeb import Item
from llave.data.video import NUM_FRAMES

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["EmbeddingCache", "content_key", "model_fingerprint"]

KEY_BYTES = 32


def content_key(item: Item, picture: Path | None) -> bytes:
    """SHA-256 of an item's text and of its picture's, page's or video's content.

    Raises:
        OSError: the picture cannot be read.
    """
    digest = hashlib.sha256(f"{len(item.text)}:{item.text}|".encode("utf-8", "surrogatepass"))
    if picture is not None:
        for block in media_bytes(picture, num_frames=NUM_FRAMES if item.video else None):
            digest.update(block)
    return digest.digest()


def model_fingerprint(model: "SentenceTransformer") -> str:
    """SHA-256, in hexadecimal, of all that decides a model's embeddings: weights, modules, configuration, prompts."""
    import torch

    digest = hashlib.sha256()
    for text in _settings(model):
        digest.update(text.encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _settings(model: "SentenceTransformer") -> list[str]:
    texts = [str(model), repr(sorted(model.prompts.items())), repr(model.default_prompt_name)]
    processor: Any = getattr(model, "processor", None) or model.tokenizer
    tokenizer: Any = getattr(processor, "tokenizer", processor)
    texts.append(repr(getattr(processor, "chat_template", None)))
    parts = (processor, getattr(processor, "image_processor", None))
    texts += [part.to_json_string() for part in parts if part is not None and hasattr(part, "to_json_string")]
    backend = getattr(tokenizer, "backend_tokenizer", None)
    texts.append(backend.to_str() if backend is not None else repr(tokenizer))
    for module in model.modules():
        config: Any = getattr(module, "config", None)
        if config is not None and hasattr(config, "to_json_string"):
            texts.append(config.to_json_string())
            break
    return texts


class EmbeddingCache:
    """Embeddings of one model under ``root/FINGERPRINT/*.safetensors``."""

    def __init__(self, root: Path, fingerprint: str) -> None:
        self.folder = root / fingerprint
        self.folder.mkdir(parents=True, exist_ok=True)
        self._known: dict[bytes, NDArray[np.float32]] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            self._read(path)

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: bytes) -> NDArray[np.float32] | None:
        """The embedding (D,) of a key, or None."""
        return self._known.get(key)

    def put(self, keys: list[bytes], embeddings: list[NDArray[np.float32]]) -> None:
        """Keep embeddings (D,) and write them as one shard."""
        if not keys:
            return
        packed = np.frombuffer(b"".join(keys), np.uint8).reshape(len(keys), KEY_BYTES)
        handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".tmp")
        os.close(handle)
        try:
            save_file({"keys": packed.copy(), "embeddings": np.stack(embeddings)}, temporary)
            os.replace(temporary, self.folder / f"{hashlib.sha256(packed.tobytes()).hexdigest()[:32]}.safetensors")
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        self._known.update(zip(keys, embeddings, strict=True))

    def _read(self, path: Path) -> None:
        try:
            shard = load_file(path)
            keys, embeddings = shard["keys"], shard["embeddings"]
            if keys.shape != (len(embeddings), KEY_BYTES) or embeddings.dtype != np.float32 or embeddings.ndim != 2:
                raise ValueError(f"unexpected shapes {keys.shape}, {embeddings.shape}")
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            warnings.warn(f"{path}: damaged embedding cache, ignored ({error})", RuntimeWarning, stacklevel=3)
            return
        self._known.update((key.tobytes(), embedding) for key, embedding in zip(keys, embeddings, strict=True))
