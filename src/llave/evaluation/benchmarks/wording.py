"""How released evaluations of MMEB-V2 word an item, space by space, beside our plain text.

``raw`` is what VLM2Vec-V2's parsers write for a processor without a template (``process_input_text`` and the files of
``src/data/eval_dataset`` in TIGER-AI-Lab/VLM2Vec, commit 6e1e1d4): the place of the picture, a space, the instruction,
a space, the text; and what its rows of pictures need "to stay consistent with v1". Some spaces are double, some line
breaks are missing, and a query without a picture keeps the picture's place: the models were scored on that.

``instruction`` and ``words`` are what Qwen3-VL-Embedding's parsers take apart (``src/evaluation/mmeb_v2/data/datasets``
in QwenLM/Qwen3-VL-Embedding, commit 8ce3aab): the instruction, with a full stop where it ends without punctuation, is a
turn of the system; candidates have none.
"""

import unicodedata
from dataclasses import replace

from llave.data.mmeb import IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER, Wording
from llave.evaluation.benchmarks.spec import TaskSpec

__all__ = ["picture_query", "picture_target", "question", "system", "target", "worded"]

QUESTION = "Question:"
"""Ends VLM2Vec's instruction of questions, which Qwen's has not."""


def worded(instruction: str, text: str = "", *, video: bool = False, image: bool = False) -> Wording:
    """An instruction of a benchmark's table and a text, about a video, a picture or neither."""
    return Wording(
        _joined(instruction, text, video=video, image=image), system(instruction.strip().removesuffix(":")), text
    )


def target(instruction: str, *, video: bool = False, image: bool = False) -> Wording:
    """A candidate with an instruction and no text; what Qwen's parsers hand over is the video or picture alone."""
    return replace(worded(instruction, video=video, image=image), instruction="", words="")


def question(instruction: str, shown: str, spaced: str) -> Wording:
    """A question about a video with its options. ``spaced``: as Qwen shows them."""
    asked = system(instruction.removesuffix(QUESTION))
    return Wording(f"{VIDEO_PLACEHOLDER} {instruction}  {shown}", asked, spaced)


def picture_query(spec: TaskSpec, instruction: str, text: str) -> Wording:
    """The query of a row of pictures."""
    bare = instruction.replace(IMAGE_PLACEHOLDER, "")
    if spec.picture_names:
        raw = f"{instruction} {text}{spec.ending}"  # the place, if there is one, stays without a picture
    else:
        about = spec.meta in ("vqa", "grounding") or not _to_texts(spec)
        raw = _joined(f"\n{bare.strip()}" if about else bare, text, image=True).replace(" \n", "\n") + "\n"
    return Wording(raw, system(bare), text)


def picture_target(spec: TaskSpec, instruction: str, text: str, *, captioned: bool) -> Wording:
    """A candidate picture. ``captioned``: the row's first candidate has a text, so that all are taken to have one."""
    bare = instruction.replace(IMAGE_PLACEHOLDER, "")
    raw = _joined(f"{bare} {text}" if captioned else bare, image=True).replace(" \n", "\n")
    ends = captioned or spec.picture_names  # crops and other pictures without a text end without a line break
    return Wording(raw + "\n" * ends, "", text.strip() if spec.picture_names else text)


def system(instruction: str) -> str:
    """An instruction as a turn of the system, ending with punctuation."""
    instruction = instruction.strip()
    ends = not instruction or unicodedata.category(instruction[-1]).startswith("P")
    return instruction if ends else f"{instruction}."


def _to_texts(spec: TaskSpec) -> bool:
    return spec.meta == "classification" or spec.name.endswith("_i2t")


def _joined(instruction: str, text: str = "", *, video: bool = False, image: bool = False) -> str:
    parts = [VIDEO_PLACEHOLDER] * video + [IMAGE_PLACEHOLDER] * image + [instruction] + [text] * bool(text)
    return " ".join(parts)
