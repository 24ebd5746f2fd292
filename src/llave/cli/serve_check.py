"""What can be said of ``llave serve``'s settings before anything is loaded."""

import ipaddress
from typing import TYPE_CHECKING

from llave.errors import UserError

if TYPE_CHECKING:
    from llave.cli.serve import ServeConfig

__all__ = ["check", "is_loopback"]


def check(config: "ServeConfig") -> None:
    """Refuse what cannot be meant.

    Raises:
        UserError: it says what, and what would be.
    """
    from llave.serving.schema import MAX_ITEMS

    counts = {
        "frames": config.frames,
        "timeout": config.timeout,
        "max_items": config.max_items,
        "max_body_mb": config.max_body_mb,
        "max_megapixels": config.max_megapixels,
        "queue_items": config.queue_items,
        "batch_items": config.batch_items,
        "replicas": config.replicas,
        "threads": config.threads or 1,
        "batch_tokens": config.batch_tokens or 1,
    }
    for name, value in counts.items():
        if value <= 0:
            raise UserError(f"{name} must be more than 0, not {value}")
    if config.beside is not None and config.index is None:
        raise UserError("--beside is an index beside another one; say --index, too")
    if config.max_items > MAX_ITEMS:
        raise UserError(f"max_items: at most {MAX_ITEMS:,}, not {config.max_items:,}")
    if config.drain_seconds < 0:
        raise UserError(f"drain_seconds must not be negative, but is {config.drain_seconds}")
    if config.gallery is not None and not config.gallery.is_file():
        raise UserError(f"gallery: {config.gallery} is not there; make it with `llave analyze`")
    for origin in config.cors_origins:
        if not origin.startswith(("http://", "https://")) or origin.endswith("/"):
            raise UserError(f"cors_origins: {origin!r} must look like https://example.org")


def is_loopback(host: str) -> bool:
    """Whether nobody else can reach this address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
