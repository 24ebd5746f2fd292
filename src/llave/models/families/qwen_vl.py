"""Qwen2-VL to Qwen3.5: patches of any picture size; the projector ("merger") is inside the vision model."""

from llave.models.families.family import Family

PAIR_TEMPLATE = (
    "{%- macro parts(role) -%}{%- for message in messages if message['role'] == role -%}"
    "{%- if message['content'] is string -%}{{ message['content'] or 'NULL' }}{%- else -%}"
    "{%- for part in message['content'] -%}"
    "{%- if part['type'] == 'video' -%}<|vision_start|><|video_pad|><|vision_end|>"
    "{%- elif part['type'] == 'image' -%}<|vision_start|><|image_pad|><|vision_end|>"
    "{%- elif part['type'] == 'text' -%}{{ part['text'] }}{%- endif -%}"
    "{%- endfor -%}{%- endif -%}{%- endfor -%}{%- endmacro -%}"
    "{{ '<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: \' }}'
    "{{ parts('system') or 'Given a search query, retrieve relevant candidates that answer the query.' }}"
    "{{ '<Query>:' + (parts('query') or parts('user')) + '\n<Document>:' + parts('document') }}"
    "{{ '<|im_end|>\n<|im_start|>assistant\n' }}"
)
"""What Qwen3-VL-Reranker was trained on: a judge's instruction, the task's, the query and the document in one turn. A
prompt (a turn of the system) is the task's instruction."""
MERGER = r"(merger|deepstack_merger_list)\."
PLAIN = Family(
    types=("qwen2_vl",),
    pooling="lasttoken",
    tower="visual",
    vision=rf"(^|\.)visual\.(?!{MERGER})",
    projector=rf"(^|\.)visual\.{MERGER}",
)
TIMED = Family(
    types=("qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"),
    pooling="lasttoken",
    tower="visual",
    vision=PLAIN.vision,
    projector=PLAIN.projector,
    timed=True,
    pair_template=PAIR_TEMPLATE,
)
