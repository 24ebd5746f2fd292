"""``llave convert SRC DST``."""

import sys
from dataclasses import dataclass
from pathlib import Path

from llave.cli.parsing import parse
from llave.errors import UserError

__all__ = ["ConvertConfig", "run"]


@dataclass(frozen=True, kw_only=True)
class ConvertConfig:
    """A conversion.

    Args:
        source: directory of an original LLaVE checkpoint: config.json, tokenizer files, weights.
        target: directory to make.
        vision_config: JSON with num_attention_heads, image_size and patch_size, for a vision tower that is not known.
    """

    source: Path
    target: Path
    vision_config: Path | None = None


def run(argv: list[str]) -> int:
    """Convert; prints the new directory."""
    config = parse(
        ConvertConfig,
        argv,
        command="convert",
        description="Make an original LLaVE checkpoint (llava_qwen) a directory that sentence-transformers opens. "
        "Example: llave convert LLaVE-2B models/llave-2b",
        positional=("source", "target"),
    )
    if config.vision_config is not None and not config.vision_config.is_file():
        raise UserError(f"{config.vision_config}: no such file (--vision-config)")
    from llave.models.convert import convert
    from llave.terminal import quiet_libraries

    quiet_libraries()
    sys.stdout.write(f"{convert(config.source, config.target, vision_config=config.vision_config)}\n")
    return 0
