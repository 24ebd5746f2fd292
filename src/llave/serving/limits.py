"""What a client may ask for. Every bound of the server stands here."""

from dataclasses import dataclass

from llave.data.sound import SoundLimits
from llave.data.video_limits import VideoLimits

__all__ = ["MAX_HEAD", "MIB", "Limits"]

MIB = 1 << 20
MAX_HEAD = 16 * 1024
"""Bytes of a request's line and headers."""
VIDEOS = VideoLimits(num_bytes=24 * MIB, num_frames=3600, pixels=1920 * 1200, seconds=15.0)
SOUNDS = SoundLimits(num_bytes=24 * MIB, seconds=15.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on one request, on one item, and on all that is held at a time.

    Args:
        body_bytes: of a request.
        bodies_bytes: of all requests that are being read or answered.
        body_seconds: to receive a request's body.
        header_seconds: to receive a request's head.
        request_seconds: from a request's first byte to its answer; a client may ask for less.
        unread_seconds: for a client to take what was written to it, before more is.
        unread_bytes: of all answers that are not read yet.
        connections: open at a time.
        items: of one embeddings request.
        text_characters: of one item.
        media_bytes: of one picture, encoded.
        pixels: of one picture; a large one is decoded reduced.
        picture_seconds: to decode one that is large or may be slow.
        videos: limits of one video.
        sounds: limits of one audio file.
        export_bytes: of the files of one export, which are sent as they are read.
        remote_seconds: to fetch one picture, video or sound, where that is allowed.
        queue_items: admitted at a time, waiting or in work.
        queue_tokens: of those, estimated.
        queue_bytes: of their decoded pictures and frames; besides, a quarter of it is for those of queries whose
            documents are being ranked.
        batch_items: of one forward pass.
        batch_pictures: of one forward pass that has pictures; None fits the device.
        batch_tokens: of one forward pass, padding included; None fits the device.
        decoders: pictures decoded at a time; besides, on half of the cores at most, as many slow ones, videos and
            sounds.
        media_at_once: of the pictures, videos and sounds of one request, those that are read at a time, so that others
            have their turn.
    """

    body_bytes: int = 32 * MIB
    bodies_bytes: int = 256 * MIB
    body_seconds: float = 30.0
    header_seconds: float = 10.0
    request_seconds: float = 60.0
    unread_seconds: float = 30.0
    unread_bytes: int = 128 * MIB
    connections: int = 1000
    items: int = 2048
    text_characters: int = 200_000
    media_bytes: int = 20 * MIB
    pixels: int = 100_000_000
    picture_seconds: float = 10.0
    videos: VideoLimits = VIDEOS
    sounds: SoundLimits = SOUNDS
    export_bytes: int = 2048 * MIB
    remote_seconds: float = 10.0
    queue_items: int = 4096
    queue_tokens: int = 1_000_000
    queue_bytes: int = 256 * MIB
    batch_items: int = 64
    batch_pictures: int | None = None
    batch_tokens: int | None = None
    decoders: int = 2
    media_at_once: int = 4
