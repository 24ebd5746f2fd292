"""MMEB (V1): 36 data sets, 20 in and 16 out of distribution. Source: VLM2Vec, arXiv 2410.05160, Table 1."""

import os
from pathlib import Path

from llave.data.mmeb import MMEBFolder
from llave.errors import DataError
from llave.evaluation.benchmarks.task import Benchmark, Split, folder_task

__all__ = ["MMEB_TASKS", "mmeb_benchmark"]

MMEB_TASKS: dict[tuple[str, Split], tuple[str, ...]] = {
    ("classification", "ind"): ("ImageNet-1K", "N24News", "HatefulMemes", "VOC2007", "SUN397"),
    ("classification", "ood"): ("Place365", "ImageNet-A", "ImageNet-R", "ObjectNet", "Country211"),
    ("vqa", "ind"): ("OK-VQA", "A-OKVQA", "DocVQA", "InfographicsVQA", "ChartQA", "Visual7W"),
    ("vqa", "ood"): ("ScienceQA", "VizWiz", "GQA", "TextVQA"),
    ("retrieval", "ind"): (
        "VisDial",
        "CIRR",
        "VisualNews_t2i",
        "VisualNews_i2t",
        "MSCOCO_t2i",
        "MSCOCO_i2t",
        "NIGHTS",
        "WebQA",
    ),
    ("retrieval", "ood"): ("OVEN", "FashionIQ", "EDIS", "Wiki-SS-NQ"),
    ("grounding", "ind"): ("MSCOCO",),
    ("grounding", "ood"): ("Visual7W-Pointing", "RefCOCO", "RefCOCO-Matching"),
}
"""Data sets by meta-task and split, under their names in TIGER-Lab/MMEB-eval."""

HOW = (
    "get it with `hf download TIGER-Lab/MMEB-eval --repo-type dataset --local-dir DIR`, lay it out as "
    "DIR/eval/NAME.parquet and DIR/images/, and name DIR by --root or LLAVE_MMEB"
)


def mmeb_benchmark(root: str | Path | None = None) -> Benchmark:
    """MMEB's 36 data sets under a local folder.

    Args:
        root: the folder; the variable ``LLAVE_MMEB`` if None.

    Raises:
        DataError: no folder given, or data sets missing in it.
    """
    place = root or os.environ.get("LLAVE_MMEB")
    if not place:
        raise DataError(f"mmeb: no folder with its data given; {HOW}")
    if not (Path(place) / "eval").is_dir():
        raise DataError(f"mmeb: no folder {Path(place) / 'eval'}; {HOW}")
    folder = MMEBFolder(place)
    wanted = [(name, meta, split) for (meta, split), names in MMEB_TASKS.items() for name in names]
    present = set(folder.names("eval"))
    missing = [name for name, _, _ in wanted if name not in present]
    if missing:
        shown = ", ".join(missing[:4]) + (f" and {len(missing) - 4} more" if len(missing) > 4 else "")
        raise DataError(
            f"mmeb: {len(missing)} of {len(wanted)} data sets missing in {folder.root / 'eval'}: {shown}; {HOW}"
        )
    return Benchmark("mmeb", [folder_task(folder, name, meta_task=meta, split=split) for name, meta, split in wanted])
