"""MMEB's instructions for tasks that have none in their rows.

Models trained on MMEB have seen a picture only after an instruction ("Represent the given image."), and mteb's tasks
give them the picture alone. Source of the wording: the rows of TIGER-Lab/MMEB-train.
"""

from mteb.abstasks.task_metadata import TaskMetadata
from mteb.types import PromptType

__all__ = ["MetadataOfInstructed", "mmeb_instruction"]

IMAGE = "Represent the given image."
IMAGE_WITH_TEXT = "Represent the given image with related text information: "
CLASSIFICATION = "Represent the given image for classification"
QUESTION = "Represent the given image with the following question: "
IMAGE_TO_IMAGE = "Find a day-to-day image that looks similar to the provided image."
IMAGE_TO_TEXT = "Find an image caption describing the given everyday image."
TEXT_TO_IMAGE = "Find me an everyday image that matches the given caption: "
TEXT_TO_DOCUMENT = "Find the document image that can answer the given query: "


class MetadataOfInstructed(TaskMetadata):
    """Metadata of a task whose rows carry their instructions, and get no second one."""


def mmeb_instruction(task: TaskMetadata, prompt_type: PromptType | None, *, text: bool, image: bool) -> str:
    """What MMEB writes before an item of such a task; empty where it writes nothing.

    Args:
        task: the task's metadata.
        prompt_type: query or document of a retrieval task, None in other tasks.
        text: the item has a text.
        image: the item has a picture.
    """
    if isinstance(task, MetadataOfInstructed):
        return ""
    if prompt_type != PromptType.query:
        if not image:
            return ""
        if prompt_type is None and "Classification" in task.type and not text:
            return CLASSIFICATION
        return IMAGE_WITH_TEXT if text else IMAGE
    sought = task.get_modalities(PromptType.document)
    if image:
        return QUESTION if text else IMAGE_TO_IMAGE if "image" in sought else IMAGE_TO_TEXT
    if "image" not in sought:
        return ""
    return TEXT_TO_DOCUMENT if task.type == "DocumentUnderstanding" else TEXT_TO_IMAGE
