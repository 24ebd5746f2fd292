"""The scene tasks of the sample: questions about a scene (VQA), and "the X" to its crop (grounding)."""

import random
from collections.abc import Callable, Iterator, Sequence

from PIL import Image

from llave.data.mmeb import RowItem
from llave.sample.domain import RGB, Drawing
from llave.sample.rows import Row, eval_row, pick, picture, train_row, with_picture
from llave.sample.scenes import CELL, COLOURS, Placed, Scene, crop, draw_scene, plan_scene

__all__ = ["SceneTasks"]

ANSWERS = 8  # candidates of a question, the right one among them
FOREIGN_CROPS = 8  # candidates of a grounding query from other scenes
NUMBERS = {2: "two", 3: "three", 4: "four"}
SIDES = {"left of": (-1, 0), "right of": (1, 0), "above": (0, -1), "below": (0, 1)}


class SceneTasks:
    """Rows from composed scenes; every picture that a row names is handed to ``save``.

    Args:
        images: RGBA drawing of a :class:`Drawing`, to be told from a background.
        save: receives a path relative to images/ and the picture.
        rng: source of every choice.
    """

    def __init__(
        self,
        images: Callable[[Drawing, RGB], Image.Image],
        save: Callable[[str, Image.Image], None],
        rng: random.Random,
    ) -> None:
        self.images = images
        self.save = save
        self.rng = rng

    def make(
        self, name: str, drawings: Sequence[Drawing], count: int, *, evaluation: bool
    ) -> tuple[list[Row], list[Row]]:
        """Rows of ``scene_qa`` and ``grounding``.

        Args:
            name: folder of the pictures under images/scenes.
            drawings: what may stand in the scenes; one artist a scene, and only those who drew enough for one.
            count: number of scenes; a training scene gives two questions and a grounding row for each thing.
            evaluation: evaluation rows, one question a scene.
        """
        of_artist = {a: [d for d in drawings if d.artist == a] for a in {drawing.artist for drawing in drawings}}
        artists = sorted(artist for artist, theirs in of_artist.items() if len(theirs) >= max(NUMBERS))
        labels = sorted({drawing.concept.label for drawing in drawings})
        scenes: list[tuple[Scene, str, list[str]]] = []
        for number in range(count):
            artist = artists[number % len(artists)]
            chosen = self.rng.sample(of_artist[artist], self.rng.randint(min(NUMBERS), max(NUMBERS)))
            scene = plan_scene([drawing.concept for drawing in chosen], artist, self.rng)
            picture_of = {d.concept.key: self.images(d, COLOURS[scene.colour]) for d in chosen}
            canvas = draw_scene(scene, picture_of)
            path = f"scenes/{name}/{number:04d}.png"
            self.save(path, canvas)
            crops = [f"scenes/{name}/{number:04d}-{i}.png" for i in range(len(scene.placed))]
            for crop_path, place in zip(crops, scene.placed, strict=True):
                self.save(crop_path, crop(canvas, place))
            scenes.append((scene, path, crops))
        questions, groundings = [], []
        for scene, path, crops in scenes:
            asked = list(self._questions(scene, labels))
            for question, answer, wrong in pick(asked, 1 if evaluation else 2, self.rng):
                query = with_picture(path, question)
                if evaluation:
                    questions.append(eval_row(query, RowItem(answer), map(RowItem, wrong)))
                else:
                    questions.append(train_row(query, RowItem(answer), RowItem(self.rng.choice(wrong))))
            targets = range(len(crops)) if not evaluation else [self.rng.randrange(len(crops))]
            for target in targets:
                query = with_picture(path, f"The {scene.placed[target].concept.label}")
                own = [picture(c) for i, c in enumerate(crops) if i != target]
                if evaluation:
                    elsewhere = [c for _, other, theirs in scenes if other != path for c in theirs]
                    foreign = [picture(c) for c in pick(elsewhere, FOREIGN_CROPS, self.rng)]
                    groundings.append(eval_row(query, picture(crops[target]), [*own, *foreign]))
                else:
                    groundings.append(train_row(query, picture(crops[target]), self.rng.choice(own)))
        return questions, groundings

    def _questions(self, scene: Scene, labels: Sequence[str]) -> Iterator[tuple[str, str, list[str]]]:
        """All questions that this scene answers: question, answer, wrong answers."""
        present = [place.concept.label for place in scene.placed]
        absent = [label for label in labels if label not in present]
        others = [colour for colour in sorted(COLOURS) if colour != scene.colour]
        yield "What colour is the background?", scene.colour, others
        count = NUMBERS[len(present)]
        yield "How many things are there?", count, [number for number in NUMBERS.values() if number != count]
        shown = self.rng.choice(present)
        yield "What is in the picture?", shown, pick(absent, ANSWERS - 1, self.rng)
        cells = {_cell(place): place for place in scene.placed}
        for (column, row), place in sorted(cells.items(), key=lambda entry: entry[0]):
            for side, (dx, dy) in SIDES.items():
                neighbour = cells.get((column + dx, row + dy))
                if neighbour is None:
                    continue
                answer = neighbour.concept.label
                wrong = [label for label in present if label not in (answer, place.concept.label)]
                wrong += pick(absent, ANSWERS - 1 - len(wrong), self.rng)
                yield f"What is {side} the {place.concept.label}?", answer, wrong


def _cell(place: Placed) -> tuple[int, int]:
    return place.left // CELL, place.top // CELL
