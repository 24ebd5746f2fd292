"""``llave convert SRC DST``."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llave.cli.parsing import parse
from llave.errors import UserError

__all__ = ["ConvertConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """A conversion.

    Args:
        source: directory of an original LLaVE checkpoint (config.json, tokenizer files, weights), or directory or hub
            id of any other checkpoint.
        target: directory to make.
        vision_config: JSON with num_attention_heads, image_size and patch_size, for an original LLaVE whose vision
            tower is not known.
        pooling: how the vectors of a checkpoint's tokens become one, where its family is not known; null is as its
            family was made for.
        fusion: of a text and a picture in one item of a dual encoder (CLIP, SigLIP): the mean of the two unit vectors,
            or "none", and such items are refused; null is "mean".
    """

    source: Path
    target: Path
    vision_config: Path | None = None
    pooling: Literal["lasttoken", "mean", "cls"] | None = None
    fusion: Literal["mean", "none"] | None = None


def run(argv: list[str]) -> int:
    """Convert; prints the new directory."""
    config = parse(
        ConvertConfig,
        argv,
        command="convert",
        description="Make an original LLaVE checkpoint (llava_qwen), or any raw checkpoint, a directory that "
        "sentence-transformers opens. Examples: llave convert LLaVE-2B models/llave-2b; "
        "llave convert my-vlm models/my-vlm --pooling lasttoken",
        positional=("source", "target"),
    )
    if config.vision_config is not None and not config.vision_config.is_file():
        raise UserError(f"{config.vision_config}: no such file (--vision-config)")
    from llave.models.adopt import adopt, is_original
    from llave.models.convert import convert
    from llave.terminal import quiet_libraries

    quiet_libraries()
    if config.pooling or config.fusion or not is_original(config.source):
        adopt(config.source, config.target, pooling=config.pooling, fusion=config.fusion)
    else:
        convert(config.source, config.target, vision_config=config.vision_config)
    sys.stdout.write(f"{config.target}\n")
    return 0
