"""What text reaches the model, letter by letter, as LLaVE's scorer (V1) and VLM2Vec-V2's would hand it over."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from llave import load_model
from llave.evaluation.benchmarks import get_benchmark
from llave.evaluation.compat import get_compat
from llave.evaluation.protocol import Protocol
from llave.evaluation.result import EvalResult
from llave.evaluation.runner import evaluate
from llave.models.model import EmbeddingModel
from tests.models.tiny_backbones import build

PLACE = "<|image_1|>"
Open = Callable[[str], EmbeddingModel]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Open:
    kept: dict[str, EmbeddingModel] = {}

    def open_(family: str) -> EmbeddingModel:
        if family not in kept:
            kept[family] = load_model(build(family, tmp_path_factory.mktemp(family)), device="cpu")
        return kept[family]

    return open_


@contextmanager
def reading(model: EmbeddingModel) -> Iterator[set[str]]:
    """Texts that reach the model, a picture's tokens as one, without padding."""
    seen: set[str] = set()

    def note(module: Any, arguments: tuple[dict[str, Any], ...]) -> None:
        features = arguments[0]
        for ids, mask in zip(features["input_ids"], features["attention_mask"], strict=True):
            text = model.tokenizer.decode(ids[mask.bool()])
            seen.add(re.sub(r"(<\|image_pad\|>|<\|video_pad\|>|<image>)\1+", r"\1", text))

    hook = model[0].register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        hook.remove()


def pictures(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (60, 56), colour).save(folder / f"{name}.png")
    Image.new("RGB", (60, 56), "red").save(folder / "twin.png", compress_level=0)  # other bytes, equal pixels


def v1(root: Path, rows: dict[str, dict[str, Any]]) -> None:
    """``eval/NAME.json`` with one row each."""
    pictures(root / "images")
    (root / "eval").mkdir()
    for name, row in rows.items():
        (root / "eval" / f"{name}.json").write_text(json.dumps([row]))


def row(text: str, image: str, targets: list[str], images: list[str] | None = None) -> dict[str, Any]:
    images = images or [""] * len(targets)
    return {"qry_text": text, "qry_img_path": image, "tgt_text": targets, "tgt_img_path": images}


V1_ROWS = {
    "ImageNet-1K": row(f"{PLACE}\nRepresent  the image\n", "a.png", ["tabby  cat ", "dog"]),
    "WebQA": row(f"{PLACE}\nFind it: who?\n", "", [f"{PLACE}\nText: x\n", f"{PLACE}\nText: y\n"], ["a.png", "b.png"]),
    "CIRR": row(f" Change {PLACE} it \n", "a.png", [f"{PLACE}\nThis.\n"] * 2, ["a.png", "twin.png"]),
}
TURN = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n{}<|im_end|>\n"
    "<|im_start|>assistant\n\n<|im_end|>\n"
)
RAW = Protocol(form="raw", max_length=4096)


def test_v1_as_llave_hands_it_over(opened: Open, tmp_path: Path) -> None:
    v1(tmp_path / "v1", V1_ROWS)
    benchmark = get_benchmark("mmeb", root=tmp_path / "v1", tasks=",".join(V1_ROWS))
    model = opened("llava_onevision")
    with reading(model) as seen:
        result = evaluate(model, benchmark, compat=get_compat("llave"), progress=False)
    assert not result.errors
    assert seen == {
        TURN.format(content)
        for content in (
            "<image>\nRepresent  the image\n",  # white space of the data, double spaces too
            "tabby  cat ",
            "dog",
            "<image>\nFind it: who?\n",  # a picture's place without a picture: a grey one
            "<image>\nText: x\n",
            "<image>\nText: y\n",
            "<image>\nChange  it",  # a place that is not first is moved there, and the text is stripped
            "<image>\nThis.\n",
        )
    }
    with reading(model) as seen:
        evaluate(model, benchmark, progress=False)
    assert TURN.format("Find it: who?") in seen  # strict: no blank picture, no white space around
    assert TURN.format("tabby  cat") in seen
    assert len(seen) == 8


def test_v1_ties(opened: Open, tmp_path: Path) -> None:
    """A picture in two files ties with itself: the positive's by LLaVE's ``argmax``, nobody's when strict."""
    v1(tmp_path / "v1", V1_ROWS)
    benchmark = get_benchmark("mmeb", root=tmp_path / "v1", tasks="CIRR")
    scores = {}
    for compat, ties in (("strict", None), ("llave", None), ("vlm2vec", None), ("llave", "strict")):
        result = evaluate(
            opened("llava_onevision"),
            benchmark,
            compat=get_compat(compat),
            ties=ties,
            progress=False,  # type: ignore[arg-type]
        )
        scores[compat, ties] = result.overall
        assert len(result.tasks["CIRR"].rows[0].candidates) == 2
    assert scores == {("strict", None): 0.0, ("llave", None): 1.0, ("vlm2vec", None): 1.0, ("llave", "strict"): 0.0}


def test_v1_rows_raw(opened: Open, tmp_path: Path) -> None:
    """VLM2Vec's first version: the text of the data with its own token in the picture's place, and no more."""
    v1(tmp_path / "v1", V1_ROWS)
    result, seen = raw(opened("qwen2_vl"), "mmeb", tmp_path / "v1", list(V1_ROWS))
    assert seen == {
        "<|image_pad|>\nRepresent  the image\n",
        "tabby  cat ",
        "dog",
        "<|image_pad|>\nFind it: who?\n",  # the token stays, without a picture
        "<|image_pad|>\nText: x\n",
        "<|image_pad|>\nText: y\n",
        " Change <|image_pad|> it \n",
        "<|image_pad|>\nThis.\n",
    }
    (query,) = (result.items.row_item(row.query) for row in result.tasks["WebQA"].rows)
    assert query.image == ""


def raw(model: EmbeddingModel, name: str, root: Path, tasks: list[str]) -> tuple[EvalResult, set[str]]:
    benchmark = get_benchmark(name, root=root, tasks=",".join(tasks))
    with reading(model) as seen:
        result = evaluate(
            model,
            benchmark,
            compat=get_compat("vlm2vec"),
            protocol=RAW,
            progress=False,
        )
    assert not result.errors
    return result, seen


def instructed(root: Path, name: str, **row: Any) -> None:
    given = {"qry_inst": "", "qry_text": "", "qry_img_path": "", "tgt_inst": "", "tgt_text": [], "tgt_img_path": []}
    path = root / "rows/ziyjiang/MMEB_Test_Instruct" / name / "test.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps([{**given, **row}]))


def test_v2_pictures_as_vlm2vec_hands_them_over(opened: Open, tmp_path: Path) -> None:
    """What its parsers make of these rows, worked out by hand from ``process_input_text`` and each ``data_prepare``."""
    pictures(tmp_path / "image-tasks")
    of_picture = {"qry_inst": f"{PLACE} Represent it", "qry_img_path": "a.png"}
    two = {"tgt_text": ["", ""], "tgt_img_path": ["a.png", "b.png"]}
    instructed(tmp_path, "ImageNet-1K", **of_picture, tgt_text=["tabby ", "dog"])
    instructed(tmp_path, "VOC2007", **{**of_picture, "qry_inst": f"{PLACE}\nName it "}, tgt_text=["cup", "dog"])
    instructed(tmp_path, "OK-VQA", **of_picture, qry_text="who? ", tgt_text=["me", "you"])
    instructed(tmp_path, "VisDial", qry_inst="The dialogue:", qry_text="Q: a", tgt_inst=f"{PLACE} The image", **two)
    instructed(
        tmp_path, "WebQA", qry_inst=f"{PLACE}\nFind it:", qry_text="where", tgt_inst=f"{PLACE}\nWiki:",
        tgt_text=["one", "two"], tgt_img_path=["a.png", "a.png"],
    )  # fmt: skip
    instructed(tmp_path, "CIRR", **of_picture, qry_text="but red", tgt_inst=f"{PLACE}\nThe picture.", **two)
    instructed(
        tmp_path, "RefCOCO-Matching", **of_picture, qry_text='"man"', tgt_inst=f"{PLACE}\nSelect: ",
        tgt_text=['"man"', '"dog"'], tgt_img_path=["a.png", "a.png"],
    )  # fmt: skip
    names = ["ImageNet-1K", "VOC2007", "OK-VQA", "VisDial", "WebQA", "CIRR", "RefCOCO-Matching"]
    model = opened("qwen2_vl")
    result, seen = raw(model, "mmeb-v2", tmp_path, names)
    assert seen == {
        "<|image_pad|>  Represent it\n",  # a space before the instruction, and its own
        "tabby ", "dog",
        "<|image_pad|>\nName it \n", "cup",  # the last space goes only before a line break of the data
        "<|image_pad|>\nRepresent it who? \n", "me", "you",
        "The dialogue: Q: a\n\n", "<|image_pad|>  The image\n",
        "<|image_pad|>\nFind it: where\n",  # without a picture
        "<|image_pad|>\nWiki: one\n",  # candidates go by their picture: the first text counts
        "<|image_pad|>\nRepresent it but red\n", "<|image_pad|>\nThe picture.",  # no line break at the end
        '<|image_pad|>\nRepresent it "man"\n', '<|image_pad|>\nSelect:  "man"\n', '<|image_pad|>\nSelect:  "dog"\n',
    }  # fmt: skip
    assert len(result.tasks["WebQA"].rows[0].candidates) == 1
    assert len(result.tasks["RefCOCO-Matching"].rows[0].candidates) == 2
    with reading(model) as seen:  # the same rows in a template: our plain texts, one space between
        evaluate(model, get_benchmark("mmeb-v2", root=tmp_path, tasks="OK-VQA,WebQA"), progress=False)
    assert "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Represent it who?<|im_end|>\n" in seen
    assert "<|im_start|>user\nFind it: where<|im_end|>\n" in seen


def test_v2_videos_and_pages_as_vlm2vec_hands_them_over(opened: Open, tmp_path: Path) -> None:
    def frames(*names: str) -> None:
        for name in names:
            folder = tmp_path / "video-tasks/frames" / name
            pictures(folder)
            (folder / "twin.png").unlink()

    def rows(name: str, *content: dict[str, Any]) -> None:
        path = tmp_path / "rows" / f"{name}.jsonl"
        path.parent.mkdir(parents=True)
        path.write_text("\n".join(map(json.dumps, content)))

    frames("video_cls/Breakfast/v", "video_qa/NExTQA/7", "video_ret/MSR-VTT/f", "video_qa/EgoSchema/e")
    rows("VLM2Vec/Breakfast/test", {"video_id": "v", "pos_text": "milk"})
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "Breakfast.txt").write_text("milk\ntea\n")
    options = {f"a{number}": word for number, word in enumerate("abcde")}
    rows("VLM2Vec/NExTQA/MC/test", {"video": 7, "question": "why?", "answer": 0, **options})
    rows(
        "VLM2Vec/EgoSchema/Subset/test",
        {"video_idx": "e", "question": "so?", "option": ["A. x", "B. y"], "answer": "1"},
    )
    rows("VLM2Vec/MSR-VTT/test_1k/test", {"video_id": "f", "caption": "a man"})
    pictures(tmp_path / "visdoc-tasks/ViDoRe_docvqa")
    docs = "vidore/docvqa_test_subsampled_beir"
    rows(f"{docs}/corpus/test", {"corpus-id": 1, "image": "a.png"}, {"corpus-id": 2, "image": "b.png"})
    rows(f"{docs}/queries/test", {"query-id": 1, "query": "which page?"})
    rows(f"{docs}/qrels/test", {"query-id": 1, "corpus-id": 1, "score": 1})
    asked = (
        "Given a video and a question, select the most accurate answer from the provided candidates. "
        "Return only the exact text of your chosen answer."
    )
    names = ["Breakfast", "NExTQA", "EgoSchema", "MSR-VTT", "ViDoRe_docvqa"]
    model = opened("qwen2_vl")
    _, seen = raw(model, "mmeb-v2", tmp_path, names)
    assert seen == {
        "<|video_pad|> Recognize the breakfast type that the person is cooking in the video. ",
        "milk", "tea",
        f"<|video_pad|> {asked} Question:  why?\nOptions:\n(A) a\n(B) b\n(C) c\n(D) d\n(E) e", *"abcde",
        f"<|video_pad|> {asked} Question:  so?A. x B. y", "x", "y",
        "Find a video that contains the following visual content: a man",
        "<|video_pad|> Understand the content of the provided video.",
        "Find a document image that matches the given query: which page?",
        "<|image_pad|> Understand the content of the provided document image.",
    }  # fmt: skip
    with reading(model) as seen:  # and as Qwen3-VL-Embedding takes them apart
        benchmark = get_benchmark("mmeb-v2", root=tmp_path, tasks=",".join(names))
        evaluate(
            model, benchmark, compat=get_compat("vlm2vec"), progress=False,
            protocol=Protocol(form="system", query_prompt="Default.", target_prompt="Default.", max_length=4096),
        )  # fmt: skip

    def turns(system: str, user: str) -> str:
        return f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"

    film, page = "<|vision_start|><|video_pad|><|vision_end|>", "<|vision_start|><|image_pad|><|vision_end|>"
    assert seen >= {
        turns("Recognize the breakfast type that the person is cooking in the video.", film),
        turns("Default.", "milk"),
        turns(asked, f"{film}so? A. x B. y"),
        turns("Find a video that contains the following visual content.", "a man"),
        turns("Default.", film),
        turns("Find a document image that matches the given query.", "which page?"),
        turns("Default.", page),
    }
