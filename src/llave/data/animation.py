"""Chosen frames of an animated GIF, WebP or PNG. Each is drawn on the one before, so all are decoded up to the last."""

from llave.data.decode import open_picture
from llave.data.door import reason_of
from llave.data.formats.read import read_structure
from llave.data.formats.structure import Unreadable
from llave.data.frames import Choose, Frames
from llave.data.orientation import upright
from llave.data.rgb import to_rgb
from llave.data.video_limits import Budget
from llave.errors import UserError

__all__ = ["read_animation"]

SHOWN = 100
"""Milliseconds of a frame that says none, as browsers have it."""


def read_animation(data: bytes, choose: Choose, budget: Budget) -> Frames:
    """Frames, upright and in RGB, and their times; one of a picture that does not move.

    Args:
        data: the encoded bytes.
        choose: the frames to take. An animation's frames last as long as each says: it has no rate.
        budget: what it may cost.

    Raises:
        DataError: beyond a limit.
        Unreadable: truncated or corrupt.
    """
    structure = read_structure(data)
    budget.plan(structure.frames, structure.width, structure.height)
    wanted = set(choose(structure.frames, None))
    kept, seconds, now = [], [], 0.0
    try:
        with open_picture(structure) as image:
            for index in range(max(wanted) + 1):
                budget.decoded(*image.size)
                image.seek(index)
                image.load()
                if index in wanted:
                    seconds.append(now)
                    kept.append(budget.kept(upright(to_rgb(image.copy()), structure.orientation)))
                now += (image.info.get("duration") or SHOWN) / 1000
    except UserError:
        raise
    except Exception as error:
        raise Unreadable(f"truncated or corrupt ({reason_of(error)}); replace the file") from None
    return Frames(kept, seconds)
