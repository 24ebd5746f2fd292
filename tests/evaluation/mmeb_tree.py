"""Tiny but complete folders of MMEB-V1 and -V2, and what each row means, said independently of the readers."""

import hashlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from llave.evaluation.benchmarks import get_spec
from tests.data.films import write_film

ROWS = 2
OTHERS = 3
PLACE = "<|image_1|>\n"
TEXT_TO_PICTURE = {"VisDial", "VisualNews_t2i", "MSCOCO_t2i", "WebQA", "EDIS", "Wiki-SS-NQ"}
PICTURE_TO_PICTURE = {
    "CIRR",
    "NIGHTS",
    "OVEN",
    "FashionIQ",
    "MSCOCO",
    "Visual7W-Pointing",
    "RefCOCO",
    "RefCOCO-Matching",
}
CAPTIONED = {"WebQA", "EDIS", "OVEN", "RefCOCO-Matching"}
QUESTION = (
    "Given a video and a question, select the most accurate answer from the provided candidates. "
    "Return only the exact text of your chosen answer. Question:"
)
VIDEO_QUERY = {
    "K700": "Recognize the category of the video content.",
    "SmthSmthV2": "What actions or object interactions are being performed by the person in the video?",
    "HMDB51": "What actions or objects interactions are the person in the video doing?",
    "UCF101": "What activities or sports are being performed by the person in the video?",
    "Breakfast": "Recognize the breakfast type that the person is cooking in the video.",
    "MSR-VTT": "Find a video that contains the following visual content:",
    "MSVD": "Find the video snippet that corresponds to the given summary:",
    "DiDeMo": "Find a video that includes the following described scenes:",
    "VATEX": "Select a video that fits the description provided:",
    "YouCook2": "Find a video that demonstrates the following action while making a recipe:",
}


@dataclass(frozen=True)
class Thing:
    """One thing to embed, by absolute paths."""

    text: str = ""
    image: Path | None = None
    video: Path | None = None


@dataclass(frozen=True)
class Row:
    """A query and all its candidates; the first ones are relevant, with these gains."""

    query: Thing
    candidates: tuple[Thing, ...]
    gains: tuple[float, ...] = (1.0,)


Truth = dict[str, list[Row]]


def picture(number: int) -> Image.Image:
    pixels = np.random.default_rng(number).integers(0, 255, (3, 3, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((40, 32 + 8 * (number % 2)), Image.Resampling.NEAREST)


def build_v1(root: Path) -> Truth:
    """``eval/NAME.parquet`` and ``images/``."""
    (root / "eval").mkdir(parents=True)
    _pictures(root / "images")
    truth: Truth = {}
    for number, spec in enumerate(get_spec("mmeb").tasks):
        rows, truth[spec.name] = [], []
        for row in range(ROWS):
            query, candidates = _image_row(spec.name, number, row, root / "images")
            truth[spec.name].append(Row(query, candidates))
            stray = PLACE if spec.name in ("WebQA", "EDIS") else ""
            rows.append(
                {
                    "qry_text": f"{PLACE if query.image else stray}{query.text}\n",
                    "qry_img_path": query.image.name if query.image else "",
                    "tgt_text": [f"{PLACE}{c.text}\n" if c.image else c.text for c in candidates],
                    "tgt_img_path": [c.image.name if c.image else "" for c in candidates],
                }
            )
        pq.write_table(pa.Table.from_pylist(rows), root / "eval" / f"{spec.name}.parquet")
    return truth


def build_v2(root: Path) -> Truth:
    """``rows/OWNER/NAME/…`` as the hub lays them out, and the media as the released bundle does."""
    truth: Truth = {}
    _pictures(root / "image-tasks")
    for number, spec in enumerate(get_spec("mmeb-v2").tasks):
        if spec.modality == "image":
            truth[spec.name] = _instructed(root, spec.name, number)
    for build in (_classification, _local_classification, _questions, _retrieval, _moments, _clips, _documents):
        truth |= build(root)
    return truth


def _pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    for number in range(8):
        picture(number).save(folder / f"{number}.png")


def _image_row(name: str, number: int, row: int, images: Path) -> tuple[Thing, tuple[Thing, ...]]:
    """Query and candidates of a picture task, the positive first."""
    chosen = [(number + 3 * row + step) % 8 for step in range(OTHERS + 1)]
    query = Thing(f"{name} asks {row}", images / f"{number % 8}.png")
    if name not in TEXT_TO_PICTURE | PICTURE_TO_PICTURE:
        return query, tuple(Thing(f"answer {place} of {name}") for place in chosen)
    if name in TEXT_TO_PICTURE:
        query = Thing(query.text)
    captions = [f" caption {place}" if name in CAPTIONED else "" for place in chosen]
    return query, tuple(
        Thing(f"Represent the given image.{caption}", images / f"{place}.png")
        for place, caption in zip(chosen, captions, strict=True)
    )


def _instructed(root: Path, name: str, number: int) -> list[Row]:
    rows, truth = [], []
    for row in range(ROWS):
        query, candidates = _image_row(name, number, row, root / "image-tasks")
        instruction, _, text = query.text.rpartition(" ")
        to_picture = candidates[0].image is not None
        target = "Represent the given image."
        rows.append(
            {
                "qry_inst": f"{PLACE}{instruction}" if query.image else instruction,
                "qry_text": text,
                "qry_img_path": query.image.name if query.image else "",
                "tgt_inst": f"{PLACE}{target}" if to_picture else "",
                "tgt_text": [c.text.removeprefix(target).strip() if to_picture else c.text for c in candidates],
                "tgt_img_path": [c.image.name if c.image else "" for c in candidates],
            }
        )
        truth.append(Row(query, candidates))
    _table(root / "rows/ziyjiang/MMEB_Test_Instruct" / name / "test-00000-of-00001.parquet", rows)
    return truth


def _frames(folder: Path, seed: int, count: int = 10) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        picture(100 * seed + 2 * number).save(folder / f"{number:04d}.jpeg", quality=95)
    return folder


def _mp4(path: Path, seed: int) -> Path:
    return write_film(path, [picture(100 * seed + 2 * number) for number in range(9)])


def _webm(path: Path, seed: int) -> Path:
    return write_film(path, [picture(100 * seed + 2 * number) for number in range(9)], codec="libvpx")


def _animated(path: Path, seed: int) -> Path:
    first, *rest = (picture(100 * seed + 2 * number) for number in range(9))
    lossless = {"lossless": True} if path.suffix == ".webp" else {}
    first.save(path, save_all=True, append_images=rest, duration=80, **lossless)
    return path


VIDEOS: dict[str, Callable[[Path, int], Path]] = {
    "": _frames, ".mp4": _mp4, ".webm": _webm, ".gif": _animated, ".webp": _animated
}  # fmt: skip


def _video(root: Path, folder: str, name: str, seed: int, suffix: str = "") -> Path:
    """Frames in the bundle's folder; films under ``videos`` where VLM2Vec keeps them."""
    place = root / (folder if not suffix else folder.replace("/frames/", "/videos/"))
    place.mkdir(parents=True, exist_ok=True)
    (root / folder).mkdir(parents=True, exist_ok=True)
    return VIDEOS[suffix](place / f"{name}{suffix}", seed)


def _classification(root: Path) -> Truth:
    labels = {"K700": 700, "HMDB51": 51, "UCF101": 101, "Breakfast": 10}
    hub = {"K700": "Kinetics-700"}
    truth: Truth = {}
    for number, (name, count) in enumerate(labels.items()):
        names = [f"{name.lower()}_{label}" for label in range(count)][:6]
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{name}.txt").write_text("\n".join(names) + "\n")
        suffix = ["", ".mp4", ".gif", ".webp"][number]
        folder = f"video-tasks/frames/video_cls/{name}"
        rows, truth[name] = [], []
        for row in range(ROWS):
            video = _video(root, folder, f"clip{row}", 10 * number + row, suffix)
            rows.append({"video_id": f"clip{row}", "pos_text": names[row]})
            ordered = [names[row], *(label for label in names if label != names[row])]
            query = Thing(VIDEO_QUERY[name], video=video)
            truth[name].append(Row(query, tuple(map(Thing, ordered))))
        _table(root / "rows/VLM2Vec" / hub.get(name, name) / "data" / "test-00000-of-00001.parquet", rows)
    return truth


def _local_classification(root: Path) -> Truth:
    rows, truth = [], []
    for row in range(ROWS):
        video = _video(root, "video-tasks/frames/video_cls/SSv2", str(700 + row), 60 + row)
        others = [f"Doing thing {row + step}" for step in range(4)]
        right = others[2]
        rows.append({"video_id": 700 + row, "pos_text": right, "neg_text": others})
        ordered = [right, *(other for other in others if other != right)]
        truth.append(Row(Thing(VIDEO_QUERY["SmthSmthV2"], video=video), tuple(map(Thing, ordered))))
    _table(root / "rows/VLM2Vec/SmthSmthV2/data/test-00000-of-00001.parquet", rows)
    return {"SmthSmthV2": truth}


def _questions(root: Path) -> Truth:
    truth: Truth = {}
    qa = "video-tasks/frames/video_qa"
    options = ["a red hat", "a blue boat", "nothing"]
    lettered = ["(A) a red hat", "(B) a blue boat", "(C) nothing"]
    asked = "What is seen?"
    listed = f"{QUESTION} {asked}\nOptions:\n" + "\n".join(lettered)

    mvbench = get_spec("mmeb-v2").tasks[[task.name for task in get_spec("mmeb-v2").tasks].index("MVBench")].configs
    truth["MVBench"] = []
    for number, config in enumerate(mvbench):
        video = _video(root, f"{qa}/MVBench/{config}", "film.mp4" if number else "tv", 200 + number)
        row = {"video": video.name, "question": asked, "candidates": options, "answer": "a blue boat"}
        _table(root / "rows/VLM2Vec/MVBench" / config / "train-00000-of-00001.parquet", [row])
        ordered = [lettered[1], lettered[0], lettered[2]]
        truth["MVBench"].append(Row(Thing(listed, video=video), tuple(map(Thing, ordered))))

    video = _video(root, f"{qa}/NExTQA", "4740931975", 230)
    answers = {f"a{place}": option for place, option in enumerate([*options, "four", "five"])}
    row = {"video": 4740931975, "question": asked, "answer": 2, "qid": 1, "type": "CW", **answers}
    _table(root / "rows/VLM2Vec/NExTQA/MC/test-00000-of-00001.parquet", [row])
    shown = [f"({letter}) {text}" for letter, text in zip("ABCDE", answers.values(), strict=True)]
    query = Thing(f"{QUESTION} {asked}\nOptions:\n" + "\n".join(shown), video=video)
    ordered = ["nothing", "a red hat", "a blue boat", "four", "five"]
    truth["NExTQA"] = [Row(query, tuple(map(Thing, ordered)))]

    video = _video(root, f"{qa}/Video-MME", "vid1", 231, ".mp4")
    given = ["A. A red hat.", "B. A blue boat.", "C. Nothing.", "D. All."]
    row = {"videoID": "vid1", "question": asked, "options": given, "answer": "D", "question_id": "1-1"}
    _table(root / "rows/VLM2Vec/Video-MME/data/test-00000-of-00001.parquet", [row])
    query = Thing(f"{QUESTION} {asked}\n" + "\n".join(given), video=video)
    truth["Video-MME"] = [Row(query, tuple(map(Thing, ["All", "A red hat", "A blue boat", "Nothing"])))]

    video = _video(root, f"{qa}/EgoSchema", "ego", 232, ".webm")
    row = {"video_idx": "ego", "question": asked, "option": given, "answer": "1", "question_idx": 0}
    _table(root / "rows/VLM2Vec/EgoSchema/Subset/test-00000-of-00001.parquet", [row])
    query = Thing(f"{QUESTION} {asked}" + " ".join(given), video=video)
    truth["EgoSchema"] = [Row(query, tuple(map(Thing, ["A blue boat", "A red hat", "Nothing", "All"])))]

    video = _video(root, f"{qa}/ActivityNetQA", "v_x1", 233)
    row = {"video_name": "x1", "question": "is it red", "answer": "no", "question_id": "q"}
    _table(root / "rows/VLM2Vec/ActivityNetQA/data/test-00000-of-00001.parquet", [row])
    query = Thing(f"{QUESTION} is it red? (A) yes; (B) no.", video=video)
    truth["ActivityNetQA"] = [Row(query, (Thing("no"), Thing("yes")))]
    return truth


def _retrieval(root: Path) -> Truth:
    target = "Understand the content of the provided video."
    forms: dict[str, tuple[str, str, Callable[[str, str], dict[str, Any]]]] = {
        "MSR-VTT": ("VLM2Vec/MSR-VTT/test_1k/test-0.parquet", "", lambda n, c: {"video_id": n, "caption": c}),
        "MSVD": ("VLM2Vec/MSVD/data/test-0.parquet", ".mp4", lambda n, c: {"video_id": n, "caption": [c, "other"]}),
        "DiDeMo": ("VLM2Vec/DiDeMo/data/test-0.parquet", ".webm", lambda n, c: {"video": f"d/{n}.mp4", "caption": c}),
        "VATEX": ("VLM2Vec/VATEX/data/test-0.parquet", "", lambda n, c: {"videoID": n, "enCap": [c, "other"]}),
        "YouCook2": ("lmms-lab/YouCook2/data/val-0.parquet", "", lambda n, c: {"id": n, "sentence": c}),
    }  # fmt: skip
    truth: Truth = {}
    for number, (name, (table, suffix, form)) in enumerate(forms.items()):
        names = [f"film{row}" for row in range(3)]
        films = [
            _video(root, f"video-tasks/frames/video_ret/{name}", film, 300 + 10 * number + row, suffix)
            for row, film in enumerate(names)
        ]
        _table(root / "rows" / table, [form(film, f"a scene {film}") for film in names])
        truth[name] = [
            Row(
                Thing(f"{VIDEO_QUERY[name]} a scene {film}"),
                tuple(Thing(target, video=films[place]) for place in [row, *(p for p in range(3) if p != row)]),
            )
            for row, film in enumerate(names)
        ]
    return truth


def _moments(root: Path) -> Truth:
    target = "Understand the content of the provided video."
    truth: Truth = {}
    for number, (name, folder) in enumerate({"QVHighlight": "QVHighlight", "Charades-STA": "Charades_STA"}.items()):
        rows, truth[name] = [], []
        for row in range(ROWS):
            place = root / f"video-tasks/frames/video_mret/{folder}/m{row}"
            seed = 400 + 20 * number + 10 * row
            query = _frames(place / "query", seed)
            clips = [
                _frames(place / clip, seed + 1 + i, 4)
                for i, clip in enumerate(["positive_0", "negative_0", "negative_1"])
            ]
            (place / "info.txt").write_text("not a clip")
            rows.append({"query": f"someone runs {row}", "video_path": f"films/m{row}.mp4"})
            text = f"Find the clip that corresponds to the described scene in the given video: someone runs {row}"
            truth[name].append(Row(Thing(text, video=query), tuple(Thing(target, video=clip) for clip in clips)))
        path = root / f"rows/VLM2Vec/{name}/test.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(map(json.dumps, rows)))
    return truth


def _clips(root: Path) -> Truth:
    target = "Understand the content of the provided video clip."
    folder = "video-tasks/frames/video_mret/MomentSeeker"
    rows, truth = [], []
    inputs = {"": "Find the clip that corresponds to the given text:",
              "7.jpg": "Select the video clip that aligns with the given text and image:",
              "movie/x.mp4": "Find the clip that corresponds to the given sentence and video segment:"}  # fmt: skip
    _frames(root / folder / "video_frames" / "movie_x", 500)
    picture(501).save(root / folder / "query_7.jpg", quality=95)
    shown = {"": {}, "7.jpg": {"image": root / folder / "query_7.jpg"},
             "movie/x.mp4": {"video": root / folder / "video_frames" / "movie_x"}}  # fmt: skip
    for number, (given, instruction) in enumerate(inputs.items()):
        names = [f"m{number}/{kind}.mp4" for kind in ("right", "right2", "wrong", "wrong2")]
        videos = [
            _frames(
                root / folder / "video_frames" / name.removesuffix(".mp4").replace("/", "_"), 510 + 10 * number + i, 5
            )
            for i, name in enumerate(names)
        ]
        count = 1 + (number == 2)  # the last one has two right clips
        right, wrong = names[:count], names[2:]
        rows.append(
            {
                "query": "she waves",
                "input_frames": given,
                "positive_frames": [{"output_path": name} for name in right],
                "negative_frames": [{"output_path": name} for name in wrong],
            }
        )
        things = tuple(Thing(target, video=video) for video in [*videos[:count], *videos[2:]])
        truth.append(Row(Thing(f"{instruction} she waves", **shown[given]), things, (1.0,) * count))
    _table(root / "rows/VLM2Vec/MomentSeeker/data/test-0.parquet", rows)
    return {"MomentSeeker": truth}


def _documents(root: Path) -> Truth:
    """Corpora with their pages in the table, or as files already; grades where ViDoRe V2 has them."""
    target = "Understand the content of the provided document image."
    truth: Truth = {}
    specs = [spec for spec in get_spec("mmeb-v2").tasks if spec.modality == "visdoc"]
    for number, spec in enumerate(specs):
        hashed = spec.name.startswith("VisRAG")
        split = "train" if hashed else "test"
        ids: list[Any] = [f"{'long ' * 14}page {p}.png" for p in range(4)] if hashed else list(range(4))
        files = [_hashed(name) if hashed else f"{name}.png" for name in ids]
        folder = root / spec.media
        corpus = []
        for place, name in enumerate(ids):
            page = picture(600 + (3 * number + place) % 12)
            row: dict[str, Any] = {"corpus-id": name}
            if number % 2:
                buffer = io.BytesIO()
                page.save(buffer, "PNG")
                row["image"] = {"bytes": buffer.getvalue(), "path": None}
            else:
                folder.mkdir(parents=True, exist_ok=True)
                page.save(folder / files[place])
            corpus.append(row)
        queries = [{"query-id": q, "query": f"where is {q}", "language": "english"} for q in range(ROWS + 1)]
        grades = {0: {0: 2, 1: 1, 3: 1}, 1: {2: 1}} if spec.meta == "vidore_v2" else {0: {0: 1}, 1: {2: 1}}
        qrels = [
            {"query-id": q, "corpus-id": ids[p], "score": g} for q, pages in grades.items() for p, g in pages.items()
        ]
        qrels += [{"query-id": 1, "corpus-id": ids[0], "score": 0}]  # judged irrelevant; query 2 is not judged
        qrels += [{"query-id": 1, "corpus-id": ids[2], "score": 1}]  # twice
        for table, content in (("corpus", corpus), ("queries", queries), ("qrels", qrels)):
            _table(root / "rows" / spec.rows / table / f"{split}-00000-of-00001.parquet", content)
        pages = [Thing(target, folder / file) for file in files]
        truth[spec.name] = [
            Row(
                Thing(f"Find a document image that matches the given query: where is {query}"),
                tuple(pages[p] for p in [*relevant, *(p for p in range(4) if p not in relevant)]),
                tuple(float(grade) for grade in relevant.values()),
            )
            for query, relevant in grades.items()
        ]
    return truth


def _hashed(name: str) -> str:
    return f"{name[:-4][:50]}_{hashlib.md5(name.encode()).hexdigest()[:8]}.png"


def _table(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
