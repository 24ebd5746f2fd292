"""The nano model: EfficientNet-Lite0, a two-layer projector, MiniLM over visual tokens and text."""

from llave.models.families.family import Family

PARTS = (
    "{%- macro parts(role) -%}{%- for message in messages if message['role'] == role -%}"
    "{%- for part in message['content'] if part['type'] == 'image' -%}[unused0] {% endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }} {% endfor -%}"
    "{%- endfor -%}{%- endmacro -%}"
    "{{ parts('user') }}{{ parts('query') }}"
)
PAIR_TEMPLATE = PARTS + "[SEP] {{ parts('document') }}"
"""BERT's way with two texts, each behind its picture."""
HALVES_TEMPLATE = PARTS + "[SEP] [CLS] {{ parts('document') }}"
"""Each half as if it were alone, as the nano reranker reads them."""
FAMILY = Family(
    types=("llave_nano",),
    pooling="mean",
    tower="vision_tower",
    vision=r"(^|\.)vision_tower\.",
    projector=r"(^|\.)(deep_)?projector(_gate)?\.",
    pair_template=PAIR_TEMPLATE,
)
PAIR = Family(
    types=("llave_nano_pair",),
    pooling=None,
    vision=r"(^|\.)vision_tower\.",
    projector=r"(^|\.)projector\.",
    pair_template=HALVES_TEMPLATE,
)
