"""Words for a reader: titles of groups and metrics."""

__all__ = ["group_title", "metric_title"]

TITLES = {
    "vqa": "VQA",
    "ind": "in distribution",
    "ood": "out of distribution",
    "moment_retrieval": "moment retrieval",
    "vidore_v1": "ViDoRe V1",
    "vidore_v2": "ViDoRe V2",
    "visrag": "VisRAG",
    "visdoc_ood": "VisDoc OOD",
    "visdoc": "visual documents",
    "general_text": "general retrieval",
    "instruction_following": "instruction following",
    "long_context": "long context",
    "multi_condition": "multi-condition",
    "tool": "tools",
    "gui": "GUI",
}
"""Of groups where they differ from the group's name."""


def group_title(group: str) -> str:
    """A group in words: ``video/vqa`` is "video: VQA"."""
    modality, _, meta = group.rpartition("/")
    title = TITLES.get(meta, meta)
    return f"{TITLES.get(modality, modality)}: {title}" if modality else title


def metric_title(metric: str) -> str:
    """The metric in words; MMEB calls hit@1 precision@1."""
    if metric == "hit@1":
        return "P@1"
    return metric.replace("ndcg_linear", "NDCG").replace("mrr", "MRR")
