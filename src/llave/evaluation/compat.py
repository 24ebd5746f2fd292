"""Ways to match published numbers: the quirks of the released scorers, by name.

A score under ``strict`` is what the model does; one under another name can be set beside a leaderboard's.
"""

from dataclasses import dataclass

from llave.errors import UserError
from llave.evaluation.metrics import Ties

__all__ = ["COMPAT", "STRICT", "Compat", "get_compat"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compat:
    """Quirks that are on.

    Args:
        name: as chosen by the user.
        ties: see :data:`llave.evaluation.metrics.Ties`; the released scorers let the positive win (LLaVE's ``argmax``)
            or whatever an unstable sort puts first (VLM2Vec's), which nothing can match.
        verbatim: texts keep the white space of the data ("...question\\n"); otherwise it is stripped.
        blank: a text with a picture's place but no picture (queries of WebQA and EDIS) gets a grey picture, as LLaVE's
            code gives it a zero tensor. Its number of tokens is the processor's, so this is close, not equal.
        picture_names: in tasks from text to picture, candidates are the same if their picture is, whatever their text
            (VLM2Vec names candidates so; it matters for WebQA and EDIS). The first one's text counts.
    """

    name: str
    ties: Ties = "strict"
    verbatim: bool = False
    blank: bool = False
    picture_names: bool = False


STRICT = Compat(name="strict")
COMPAT = {
    "strict": STRICT,
    "llave": Compat(name="llave", ties="v1", verbatim=True, blank=True),
    "vlm2vec": Compat(name="vlm2vec", ties="v1", verbatim=True, picture_names=True),
}


def get_compat(name: str) -> Compat:
    """The mode of a name.

    Raises:
        UserError: no such mode.
    """
    if name not in COMPAT:
        raise UserError(f"--compat {name}: not one of {', '.join(COMPAT)}")
    return COMPAT[name]
