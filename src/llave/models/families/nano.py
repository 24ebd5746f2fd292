"""The nano model: EfficientNet-Lite0, a two-layer projector, MiniLM over visual tokens and text."""

from llave.models.families.family import Family

PAIR_TEMPLATE = (
    "{%- macro parts(role) -%}{%- for message in messages if message['role'] == role -%}"
    "{%- for part in message['content'] if part['type'] == 'image' -%}[unused0] {% endfor -%}"
    "{%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] }} {% endfor -%}"
    "{%- endfor -%}{%- endmacro -%}"
    "{{ parts('user') }}{{ parts('query') }}[SEP] {{ parts('document') }}"
)
"""BERT's way with two texts, each behind its picture."""
FAMILY = Family(
    types=("llave_nano",),
    pooling="mean",
    tower="vision_tower",
    vision=r"(^|\.)vision_tower\.",
    projector=r"(^|\.)(deep_)?projector(_gate)?\.",
    pair_template=PAIR_TEMPLATE,
)
