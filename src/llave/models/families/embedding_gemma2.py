"""EmbeddingGemma 2: text, pictures, videos and sounds in an encoder that looks both ways; pooled by the mean."""

from llave.models.families.family import Family

FAMILY = Family(
    types=("embedding_gemma2",),
    pooling="mean",
    tower="vision_tower",
    vision=r"(^|\.)vision_tower\.",
    projector=r"(^|\.)(embed_vision|embed_audio)\.",
    audio=r"(^|\.)audio_tower\.",
    timed=True,
)
