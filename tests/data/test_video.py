"""Frames of real films, animations and folders: which ones, within which limits, and what is refused."""

import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from llave.data.film import read_film
from llave.data.frames import sample_indices
from llave.data.media import media_bytes
from llave.data.video import VideoLimits, frame_paths, has_rate, load_video
from llave.data.video_limits import Budget
from llave.encode.item import Item, Reading
from llave.errors import DataError, UserError
from llave.models.prompts import num_frames_of, stack_frames, stacked
from tests.data.films import SIZE, frames, index_of, write_film

COUNT = 23
EXPECTED = [0, 3, 6, 9, 12, 15, 18, 22]  # floor(i * 22 / 7)


def numbers(video: list[Image.Image], count: int = COUNT) -> list[int]:
    return [index_of(frame, count) for frame in video]


def test_indices_written_by_hand() -> None:
    assert sample_indices(23, num_frames=8) == EXPECTED
    assert sample_indices(9, num_frames=8) == [0, 1, 2, 3, 4, 5, 6, 8]
    assert sample_indices(8, num_frames=8) == list(range(8))
    assert sample_indices(3, num_frames=8) == [0, 1, 2]
    assert sample_indices(64, num_frames=1) == [0]
    assert sample_indices(1000, num_frames=2) == [0, 999]


def test_frames_by_the_second_as_llave_reads_films(tmp_path: Path) -> None:
    """3 a second and at most 32; what the original's ``process_video_with_decord`` takes of such films."""
    by_second = partial(sample_indices, num_frames=32, fps=3.0)
    assert by_second(23, 10.0) == [0, 3, 6, 9, 12, 15, 18, 21]  # every round(10 / 3)-th
    assert by_second(250, 25.0) == list(range(0, 250, 8))  # 10 s: 32 frames, just as many
    assert by_second(300, 29.97)[:4] == [0, 10, 20, 30]
    assert by_second(400, 25.0) == [int(place) for place in np.linspace(0, 399, 32)]  # 50 would be too many
    assert by_second(5, 2.0) == [0, 1, 2, 3, 4]  # slower than asked for: all
    assert by_second(64, None) == sample_indices(64, num_frames=32)  # frames without a rate: evenly
    film = write_film(tmp_path / "a.mp4", frames(COUNT), rate=10)
    assert numbers(load_video(film, num_frames=32, fps=3)) == by_second(COUNT, 10.0)
    assert numbers(load_video(film, num_frames=4, fps=3)) == [0, 7, 14, 22]
    frames(2)[0].save(tmp_path / "a.gif", save_all=True, append_images=frames(2)[1:])
    assert [has_rate(path) for path in (film, tmp_path / "a.gif", tmp_path)] == [True, False, False]
    with pytest.raises(UserError, match="fps must be a number above 0, not 0"):
        load_video(film, fps=0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mp4", {"codec": "libx264", "g": "5", "bf": "2"}),
        ("one-keyframe.mp4", {"codec": "libx264", "g": "250", "bf": "3"}),
        ("a.mov", {"codec": "libx264"}),
        ("a.mkv", {"codec": "mpeg4", "bf": "2"}),
        ("a.webm", {"codec": "libvpx-vp9"}),
        ("hidden-frames.webm", {"codec": "libvpx", "auto-alt-ref": "1", "lag-in-frames": "16"}),
        ("a.avi", {"codec": "mpeg4", "bf": "2"}),
        ("a.ts", {"codec": "libx264"}),
        ("raw.h264", {"codec": "libx264", "bf": "2"}),
        ("jpegs.avi", {"codec": "mjpeg"}),
    ],
)
def test_the_frames_of_a_film(tmp_path: Path, name: str, options: dict[str, str]) -> None:
    path = write_film(tmp_path / name, frames(COUNT), **options)  # type: ignore[arg-type]
    video = load_video(path)
    assert numbers(video) == EXPECTED
    assert all(frame.mode == "RGB" and frame.size == SIZE for frame in video)
    assert numbers(load_video(path, num_frames=1)) == [0]
    assert numbers(load_video(path, num_frames=100)) == list(range(COUNT))


def test_a_long_film_is_sought_not_decoded(tmp_path: Path) -> None:
    """2 frames of 400 with a key frame every 10: far fewer than 400 may be decoded."""
    path = write_film(tmp_path / "long.mp4", frames(400), g="10", bf="0", sc_threshold="0")
    first, last = load_video(path, num_frames=2)
    assert (index_of(first, 400) < 3, index_of(last, 400) > 396) == (True, True)
    budget = Budget(path, VideoLimits())
    assert len(read_film(path, partial(sample_indices, num_frames=8), budget)) == 8
    assert 8 <= budget.num_decoded < 150


def test_the_times_of_frames(tmp_path: Path) -> None:
    """From the film's start, whatever clock it has; of an animation and of a folder as they say."""
    film = write_film(tmp_path / "a.mp4", frames(COUNT), rate=10)
    assert load_video(film).seconds == pytest.approx([index / 10 for index in EXPECTED])
    choose = partial(sample_indices, num_frames=8)
    bare = write_film(tmp_path / "a.ts", frames(COUNT), rate=10)  # MPEG-TS starts at 1.4 s
    assert read_film(bare, choose, Budget(bare, VideoLimits())).seconds == pytest.approx([x / 10 for x in EXPECTED])
    frames(4)[0].save(tmp_path / "a.gif", save_all=True, append_images=frames(4)[1:], duration=[500, 100, 400, 200])
    assert load_video(tmp_path / "a.gif").seconds == pytest.approx([0, 0.5, 0.6, 1.0])
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames(4)):
        frame.save(folder / f"{number}.png")
    assert load_video(folder).seconds is None
    assert load_video(folder, folder_rate=2).seconds == [0, 0.5, 1, 1.5]
    assert len(load_video(folder, folder_rate=2, fps=1)) == 2
    keys = {Item(video=folder).measure(Reading(folder_rate=rate)).key for rate in (None, 1.0, 2.0)}
    assert len(keys) == 3


def test_a_large_frame_is_scaled_down(tmp_path: Path) -> None:
    wide = [Image.new("RGB", (1600, 800), (9, 9, 9))] * 3
    wide[0].save(tmp_path / "a.gif", save_all=True, append_images=[Image.new("RGB", (1600, 800), (200, 9, 9))])
    (tmp_path / "shots").mkdir()
    wide[0].save(tmp_path / "shots" / "0.png")
    for source in (write_film(tmp_path / "a.mp4", wide), tmp_path / "a.gif", tmp_path / "shots"):
        for frame in load_video(source):
            assert frame.size == (1097, 548)  # the same shape, at most 768 * 28 * 28 pixels
        assert load_video(source, limits=VideoLimits(kept_pixels=10**7))[0].size == (1600, 800)


@pytest.mark.parametrize(("name", "options"), [("a.gif", {}), ("a.webp", {"lossless": True}), ("a.png", {})])
def test_the_frames_of_an_animation(tmp_path: Path, name: str, options: dict[str, bool]) -> None:
    first, *rest = frames(COUNT)
    path = tmp_path / name
    first.save(path, save_all=True, append_images=rest, duration=50, **options)
    assert numbers(load_video(path)) == EXPECTED
    path.rename(tmp_path / "named.mp4")  # what a file is, its content says
    assert numbers(load_video(tmp_path / "named.mp4", num_frames=3)) == [0, 11, 22]
    first.save(path)
    assert len(load_video(path)) == 1
    transparent = [Image.new("RGBA", (8, 8), (200, 0, 0, 0)), Image.new("RGBA", (8, 8), (0, 0, 0, 255))]
    if name != "a.gif":
        transparent[0].save(path, save_all=True, append_images=transparent[1:], duration=50, **options)
        assert [frame.getpixel((3, 3)) for frame in load_video(path)] == [(255, 255, 255), (0, 0, 0)]


def test_a_folder_of_frames_in_natural_order(tmp_path: Path) -> None:
    for number, frame in enumerate(frames(COUNT)):
        frame.save(tmp_path / f"frame{number}.{'JPG' if number % 2 else 'png'}", quality=95)
    (tmp_path / "notes.txt").write_text("no frame")
    (tmp_path / "._frame0.png").write_text("no frame")
    assert [path.stem for path in frame_paths(tmp_path)][:3] == ["frame0", "frame1", "frame2"]
    assert numbers(load_video(tmp_path)) == EXPECTED
    with pytest.raises(DataError, match="more than 5 frames"):
        load_video(tmp_path, limits=VideoLimits(num_frames=5))
    (tmp_path / "frame22.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match=r"frame22\.png"):
        load_video(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty: no frames in this folder"):
        load_video(tmp_path / "empty")


def test_a_film_held_upright_is_shown_upright(tmp_path: Path) -> None:
    """A phone's film: stored on its side, with a matrix in the header that says so."""
    wide = Image.new("RGB", SIZE, (0, 0, 0))
    wide.paste((255, 255, 255), (0, 0, SIZE[0] // 2, SIZE[1]))  # the left half is white
    path = write_film(tmp_path / "a.mp4", [wide] * 3)
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows 40 bytes
    one = (1 << 16).to_bytes(4, "big")
    zero, minus = bytes(4), (-(1 << 16)).to_bytes(4, "big", signed=True)
    assert data[place : place + 4] == one
    data[place : place + 36] = b"".join([zero, one, zero, minus, zero, zero, zero, zero, (1 << 30).to_bytes(4, "big")])
    path.write_bytes(data)
    frame = load_video(path)[0]
    assert frame.size == SIZE[::-1]
    grey = np.asarray(frame.convert("L"), np.float64)
    # (x, y) goes to (-y, x): a quarter turn clockwise, and the left half comes to the top.
    assert grey[: SIZE[0] // 2 - 4].mean() > 200 > 50 > grey[SIZE[0] // 2 + 4 :].mean()


def test_a_film_that_ends_early_is_refused(tmp_path: Path) -> None:
    """Where the header tells how much there should be: nothing is passed off as the whole film."""
    noise = np.random.default_rng(0)
    pictures = [Image.fromarray(noise.integers(0, 255, (48, 64, 3), dtype=np.uint8)) for _ in range(60)]
    for name, options in {
        "moov-last.mp4": {},
        "moov-first.mp4": {"container": {"movflags": "faststart"}},
        "a.mkv": {},
        "a.webm": {"codec": "libvpx-vp9"},
        "a.avi": {"codec": "mpeg4"},
    }.items():
        path = write_film(tmp_path / name, pictures, **options)  # type: ignore[arg-type]
        whole = path.read_bytes()
        assert len(load_video(path)) == 8
        for share in (0.0, 0.3, 0.7):
            path.write_bytes(whole[: round(share * len(whole))])
            with pytest.raises(DataError, match=rf"{name}: (ends at|not a whole video|no frame)"):
                load_video(path)


def test_what_is_broken_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    with pytest.raises(DataError, match=r"x\.mp4: no such video"):
        load_video(path)
    for content in (b"", b"hello world" * 100, b"GIF89a", b"RIFF\x10\0\0\0WEBPVP8X"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.mp4: (not a whole video|truncated or corrupt)"):
            load_video(path)
    gif = tmp_path / "a.webp"
    first, *rest = [Image.fromarray(np.random.default_rng(i).integers(0, 255, (32, 32, 3), np.uint8)) for i in range(9)]
    first.save(gif, save_all=True, append_images=rest)
    gif.write_bytes(gif.read_bytes()[:-1000])
    with pytest.raises(DataError, match=r"a\.webp: truncated or corrupt"):
        load_video(gif)
    with pytest.raises(UserError, match="at least 1"):
        load_video(gif, num_frames=0)
    # Sound without a picture.
    import av

    with av.open(str(tmp_path / "sound.mkv"), "w") as sound:
        stream = sound.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.rate = 8000
        sound.mux(stream.encode(frame))
    with pytest.raises(DataError, match=r"sound\.mkv: no video in this file"):
        load_video(tmp_path / "sound.mkv")


def test_limits(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.mp4", frames(COUNT))
    gif = tmp_path / "a.gif"
    first, *rest = frames(COUNT)
    first.save(gif, save_all=True, append_images=rest)
    for path in (film, gif):
        for limits, message in (
            (VideoLimits(num_bytes=100), "more than 100 bytes"),
            (VideoLimits(num_frames=COUNT - 1), "more than 22 frames"),
            (VideoLimits(pixels=64 * 48 - 1), "64x48 pixels, more than the limit of 3,071"),
            (VideoLimits(seconds=0), "more than 0 s of decoding"),
        ):
            with pytest.raises(DataError, match=message) as caught:
                load_video(path, limits=limits)
            assert str(path) in str(caught.value)
        assert len(load_video(path, limits=VideoLimits(num_frames=COUNT + 40, pixels=64 * 48))) == 8


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A web server on this machine that notes what is asked of it."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{web.server_port}", asked
        web.shutdown()


def test_no_address_and_no_other_file_is_opened(tmp_path: Path, server: tuple[str, list[str]]) -> None:
    address, asked = server
    for source in (f"{address}/a.mp4", Path(f"{address}/a.mp4"), "file:///etc/hostname", "concat:/a.mp4|/b.mp4"):
        with pytest.raises(DataError, match="an address, not a file"):
            load_video(source)
    film = write_film(tmp_path / "film.ts", frames(COUNT))
    for text in (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}/a.ts\n#EXT-X-ENDLIST\n",
        f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{film}\n#EXT-X-ENDLIST\n",
        f"ffconcat version 1.0\nfile '{film}'\n",
        f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
        f'<Representation id="1" mimeType="video/mp4"><BaseURL>{address}/a.mp4</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
    ):
        for name in ("list.m3u8", "list.mp4", "list.mpd", "list.ffconcat"):
            (tmp_path / name).write_text(text)
            with pytest.raises(DataError, match="not a whole video"):
                load_video(tmp_path / name)
    assert asked == []
    import av  # the same list, opened without our settings, does reach for the other file

    (tmp_path / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile '{film}'\n")
    with av.open(str(tmp_path / "list.ffconcat"), options={"safe": "0"}) as container:
        assert container.streams.video


def test_without_the_extra_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    film = write_film(tmp_path / "a.mp4", frames(3))
    monkeypatch.setitem(sys.modules, "av", None)  # as if it were not installed
    with pytest.raises(UserError, match=r"pip install 'llave\[media\]'"):
        load_video(film)


def test_keys_follow_content_and_number_of_frames(tmp_path: Path) -> None:
    def key(path: Path, num_frames: int | None = 8) -> bytes:
        return b"".join(media_bytes(path, num_frames=num_frames))

    film = write_film(tmp_path / "a.mp4", frames(3))
    shutil.copy(film, tmp_path / "same.mp4")
    assert key(film) == key(tmp_path / "same.mp4")
    assert key(film) != key(film, 4)
    by_second = b"".join(media_bytes(film, num_frames=8, fps=3))
    assert by_second == key(film) + b"@3"
    assert Item(video=film).measure(Reading(fps=3)).key != Item(video=film).measure(Reading()).key
    in_memory = Item(video=film.read_bytes())
    assert in_memory.measure(Reading(fps=3)).key == Item(video=film).measure(Reading(fps=3)).key
    assert key(film, None) == film.read_bytes()
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames(3)):
        frame.save(folder / f"{number}.png")
    shutil.copytree(folder, tmp_path / "copy")
    before = key(folder)
    assert before == key(tmp_path / "copy")
    (folder / "1.png").rename(folder / "5.png")  # another order
    assert key(folder) != before
    (folder / "5.png").rename(folder / "1.png")
    assert key(folder) == before
    frames(3)[0].save(folder / "1.png")
    assert key(folder) != before


def test_an_item_becomes_a_model_input(tmp_path: Path) -> None:
    (tmp_path / "videos" / "shots").mkdir(parents=True)
    write_film(tmp_path / "videos" / "a.mp4", frames(COUNT))
    frames(2)[0].save(tmp_path / "videos" / "shots" / "0.png")
    frames(2, (20, 90))[1].save(tmp_path / "videos" / "shots" / "1.png")
    videos = tmp_path / "videos"
    alone = Item(video=videos / "a.mp4").load(Reading())
    assert isinstance(alone, dict)
    assert list(alone) == ["video"]
    assert stacked(alone["video"]).shape == (8, 48, 64, 3)
    assert stacked(alone["video"]).dtype == np.uint8
    both = Item("what happens?", video=videos / "shots").load(Reading(num_frames=4))
    assert isinstance(both, dict)
    assert both["text"] == "what happens?"
    assert both["video"].shape == (2, 48, 64, 3)  # the second frame was brought to the first one's size
    assert [num_frames_of(entry) for entry in (alone, both, "text", {"text": "a.mp4"})] == [8, 2, 0, 0]
    assert stack_frames(frames(1)).shape == (2, 48, 64, 3)  # one frame, twice
    with pytest.raises(DataError, match=r"gone\.mp4: no such video"):
        Item(video=videos / "gone.mp4").load(Reading())
