"""One thing to embed, wherever it was found: its content, what makes it the same as another, how it is loaded."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from PIL import Image

from llave.data.frames import NUM_FRAMES, Frames, frames_key
from llave.data.identity import content_digest, normal_text
from llave.data.images import MAX_PIXELS, SECONDS, load_image, picture_size
from llave.data.media import media_bytes
from llave.data.mmeb import strip_placeholder
from llave.data.pages import split_page
from llave.data.sound import Hearing, SoundLimits, load_sound, sound_seconds
from llave.data.video import VideoLimits, load_video
from llave.errors import DataError
from llave.models.pictures import fit_picture
from llave.models.prompts import ModelInput, model_input

__all__ = ["Item", "Kind", "Measured", "Modality", "Reading"]

Kind = Literal["text", "image", "video", "audio", "page"]
Modality = Literal["text", "image", "video", "audio"]
VIDEO_LIMITS, SOUND_LIMITS, HEARING = VideoLimits(), SoundLimits(), Hearing()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How files are read, and what that may cost.

    Args:
        num_frames: of a video, at most.
        fps: frames of a second of a film; None spaces ``num_frames`` evenly.
        folder_rate: frames a second that folders of frames hold; None: nobody knows.
        max_pixels: of a picture; one with more is refused before it is decoded.
        seconds: to decode a picture that is large or may be slow.
        videos: limits of one video.
        sounds: limits of one audio file.
        hearing: what the model hears of a sound; :class:`llave.encode.encoder.Encoder` takes its model's.
    """

    num_frames: int = NUM_FRAMES
    fps: float | None = None
    folder_rate: float | None = None
    max_pixels: int = MAX_PIXELS
    seconds: float = SECONDS
    videos: VideoLimits = VIDEO_LIMITS
    sounds: SoundLimits = SOUND_LIMITS
    hearing: Hearing = HEARING


@dataclass(frozen=True, slots=True)
class Measured:
    """An item that was read and not decoded.

    Args:
        key: equal for items of equal content (32 bytes).
        media: hash of the picture, film or sound alone; empty without one.
        size: (height, width) of a picture, where it can be told without decoding it.
        seconds: of a sound.
    """

    key: bytes
    media: bytes
    size: tuple[int, int] | None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A text, picture, page, video or sound; a text may come with any of the others.

    Args:
        text: may be empty where there is a picture or video. MMEB's placeholder of a picture and the white space around
            the text do not count.
        image: a file, a page (``FILE.pdf#page=3``), the bytes of a picture, or an open picture of Pillow's.
        video: a file, a folder of frames, or the bytes of a film.
        prompt: before the text, as ``SentenceTransformer.encode`` takes it; None is that of the encoder.
        verbatim: the text is taken as it is, white space and all.
        audio: an audio file, or the bytes of one.
    """

    text: str = ""
    image: Path | bytes | Image.Image | None = None
    video: Path | bytes | None = None
    prompt: str | None = None
    verbatim: bool = False
    audio: Path | bytes | None = None

    def __post_init__(self) -> None:
        for name in ("image", "video", "audio"):
            value = getattr(self, name)
            if isinstance(value, str):
                object.__setattr__(self, name, Path(value))
            elif not isinstance(value, Path | bytes | Image.Image | None):
                raise DataError(f"{name}: a path, bytes or an open picture, not {type(value).__name__}")

    @property
    def words(self) -> str:
        """The text as the model meets it."""
        text = self.text if self.verbatim else strip_placeholder(self.text)
        return normal_text(text)

    @property
    def kind(self) -> Kind:
        """What it is to a person."""
        if self.video is not None:
            return "video"
        if self.audio is not None:
            return "audio"
        if isinstance(self.image, Path) and split_page(self.image)[1] is not None:
            return "page"
        return "text" if self.image is None else "image"

    @property
    def modality(self) -> Modality:
        """What it is to a model: a page is a picture."""
        kind = self.kind
        return "image" if kind == "page" else kind

    @property
    def file(self) -> Path | None:
        """The file of the picture, page, video or sound; None of a text and of what is in memory."""
        return self._media if isinstance(self._media, Path) else None

    @property
    def num_bytes(self) -> int:
        """Bytes of an encoded picture, film or sound that it holds in memory."""
        return sum(len(media) for media in (self.image, self.video, self.audio) if isinstance(media, bytes))

    def load(self, reading: Reading) -> ModelInput:
        """What the model takes: the picture, the frames of the video or the sound decoded.

        Raises:
            DataError: a file that cannot be decoded, or nothing to embed.
        """
        if self.image is None:
            image = None
        elif isinstance(self.image, Image.Image):
            image = fit_picture(self.image)
        else:
            image = load_image(self.image, max_pixels=reading.max_pixels, seconds=reading.seconds)
        video = None if self.video is None else _load_video(self.video, reading)
        audio = None if self.audio is None else load_sound(self.audio, reading.hearing, reading.sounds)
        return model_input(self.words, image, video=video, audio=audio, verbatim=True)

    def measure(self, reading: Reading) -> Measured:
        """Read it once, without decoding it.

        Raises:
            OSError: the file cannot be read.
            DataError: a page, folder of frames, open picture or sound that cannot; two of picture, video and sound.
        """
        if self.modality == "text":
            return Measured(content_digest(self.words), b"", None)
        if sum(media is not None for media in (self.image, self.video, self.audio)) > 1:
            raise DataError("an item has more than one of a picture, a video and a sound")
        media = hashlib.sha256()
        size = None
        if isinstance(self.image, Image.Image):
            picture = fit_picture(self.image)  # a palette is not in the pixels, a turn neither
            size = picture.height, picture.width
            media.update(f"{size}".encode() + picture.tobytes())
        else:
            for block in self._blocks(reading):
                if size is None and self.kind == "image":
                    size = picture_size(block)
                media.update(block)
        seconds = None if self.audio is None else sound_seconds(self.audio, reading.sounds)
        return Measured(content_digest(self.words, media.digest()), media.digest(), size, seconds)

    @property
    def _media(self) -> Path | bytes | Image.Image | None:
        return next((media for media in (self.video, self.audio) if media is not None), self.image)

    def _blocks(self, reading: Reading) -> Iterator[bytes]:
        media = self._media
        frames = None if self.video is None else reading.num_frames
        if self.audio is not None:
            yield b"sound|"
        if isinstance(media, Path):
            yield from media_bytes(media, num_frames=frames, fps=reading.fps, folder_rate=reading.folder_rate)
            return
        if isinstance(media, bytes):
            yield media
        if frames is not None:
            yield frames_key(frames, reading.fps, reading.folder_rate)


def _load_video(source: Path | bytes, reading: Reading) -> Frames:
    load = partial(
        load_video,
        num_frames=reading.num_frames,
        fps=reading.fps,
        folder_rate=reading.folder_rate,
        limits=reading.videos,
    )
    if isinstance(source, Path):
        return load(source)
    with tempfile.NamedTemporaryFile(prefix="llave-", suffix=".film") as file:  # decoders seek in a file
        file.write(source)
        file.flush()
        try:
            return load(file.name)
        except DataError as error:  # nobody knows the name that it had for a moment
            raise DataError(str(error).replace(file.name, f"{len(source):,} bytes")) from None
