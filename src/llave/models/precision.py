"""Which arithmetic a machine is quick in, and the type of a model's weights that follows from it."""

import os
from typing import Any

__all__ = ["eval_dtype", "multiplies_bfloat16", "processor_multiplies_bfloat16"]


def eval_dtype(wanted: str | None, device: str | None, quantize: str | None = None) -> str | None:
    """The wanted type; bfloat16 where the device multiplies in it; None, the checkpoint's own, elsewhere.

    Args:
        device: None is the best there is.
        quantize: "int8" goes with float32.
    """
    import torch

    if wanted is not None or quantize == "int8":
        return wanted or "float32"
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "other" if torch.accelerator.is_available() else "cpu"
    if device.startswith("cuda"):
        quick = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    else:
        quick = device.startswith("cpu") and processor_multiplies_bfloat16()
    return "bfloat16" if quick else None


def multiplies_bfloat16() -> bool:
    """Whether the best device has instructions for bfloat16: without them it is emulated, slower than float32."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return not torch.accelerator.is_available() and processor_multiplies_bfloat16()


def processor_multiplies_bfloat16() -> bool:
    """Whether the processor has them: Intel's since Sapphire Rapids, AMD's since Zen 4.

    With ``LLAVE_BFLOAT16=never`` none is taken to have them, so that machines of several kinds make the same vectors.
    """
    import torch

    if os.environ.get("LLAVE_BFLOAT16") == "never":
        return False
    # an older torch does not tell, and is taken at its slowest
    found: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))
