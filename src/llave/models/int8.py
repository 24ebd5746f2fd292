"""Linear layers in int8, for processors: quicker than float32 where a model is mostly matrix products.

A weight (O, I) is rounded once, to -63 … 63 with a scale for each of its rows. An activation (N, I) is rounded as it
comes, to 0 … 255 between the least and the greatest number *of its row*. With one scale for a whole tensor, as
``torch.ao.quantization.quantize_dynamic`` has it, a token's result would depend on what else is in the batch, and one
large number would cost all others. A weight has seven bits because processors without VNNI add two products in 16 bits,
which eight would overflow: so all processors compute the same. The product is oneDNN's, of whole numbers and exact.

Everything else stays as it is: embeddings, norms, attention's own products, convolutions, pooling and heads.
"""

from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from llave.errors import UserError

if TYPE_CHECKING:
    from llave.models.model import Media

__all__ = ["Int8Linear", "Quantize", "quantize_layers", "quantize_model", "quantized_dtype", "require_int8"]

Quantize = Literal["none", "int8"]
"""What a user may ask for."""
WEIGHT, ACTIVATION = 63.0, 255.0
"""The greatest codes: 2 · 63 · 255 is less than 2¹⁵."""
KEPT = ("patch_embed", "lm_head", "text_projection", "visual_projection")
"""Parts of the names of layers that are left alone, the first over pixels and the last: they take little time."""


class Int8Linear(nn.Module):
    """An ``nn.Linear`` whose product is of whole numbers.

    Attributes:
        code_OI: the weight, int8.
        scale_O: of its rows.
        bias: (O,); zeros where the layer had none.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight_OI = linear.weight.detach().float()
        scale_O = (weight_OI.abs().amax(1) / WEIGHT).clamp_min(torch.finfo(torch.float32).tiny)
        code_OI = (weight_OI / scale_O[:, None]).round_().to(torch.int8)
        bias = torch.zeros(linear.out_features) if linear.bias is None else linear.bias.detach().float().clone()
        self.code_OI = nn.Parameter(code_OI, requires_grad=False)
        self.scale_O = nn.Parameter(scale_O, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self._pack()

    def _pack(self) -> None:
        """What is derived from the weight: oneDNN's own form of it, and what a row's least number adds."""
        code_OI = self.code_OI.detach()
        self._packed = torch.ops.onednn.qlinear_prepack(code_OI, None)
        self._zero_O = torch.zeros(self.out_features, dtype=torch.int32)
        self._sum_1O = (code_OI.sum(1) * self.scale_O.detach())[None]

    def __getstate__(self) -> dict[str, Any]:
        """Without what is derived: oneDNN's form does not pass to another process."""
        return {name: value for name, value in self.__dict__.items() if name not in ("_packed", "_zero_O", "_sum_1O")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._pack()

    @property
    def weight(self) -> Tensor:
        """(O, I) in float32, for code that looks at a layer's weight or its type; computed anew each time."""
        return self.code_OI.detach() * self.scale_O.detach()[:, None]

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(…, I) to (…, O), in the type that came. Not differentiable."""
        row_NI = x.reshape(-1, self.in_features).float()
        if not len(row_NI):
            return x.new_zeros(*x.shape[:-1], self.out_features)
        low_N1 = row_NI.amin(1, keepdim=True)
        step_N1 = ((row_NI.amax(1, keepdim=True) - low_N1) / ACTIVATION).clamp_min_(torch.finfo(torch.float32).tiny)
        # by way of int8 and the highest bit turned over: torch is five times as slow from float32 to uint8
        code_NI = (row_NI - low_N1).div_(step_N1).round_().sub_(128).to(torch.int8).view(torch.uint8).bitwise_xor_(128)
        y_NO: Tensor = torch.ops.onednn.qlinear_pointwise(
            code_NI, 1.0, 0, self._packed, self.scale_O, self._zero_O, None, 1.0, 0, torch.float32, "none", [], ""
        )
        y_NO = y_NO.mul_(step_N1).add_(torch.addmm(self.bias, low_N1, self._sum_1O))
        return y_NO.to(x.dtype).reshape(*x.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """As a model's fingerprint has it."""
        return f"in_features={self.in_features}, out_features={self.out_features}, int8, rows 8 bits by 7"


def require_int8(device: str | None) -> None:
    """Refuse where int8 is not to be had.

    Args:
        device: None is the best there is.

    Raises:
        UserError: a GPU, or a torch without the product.
    """
    from sentence_transformers.util import get_device_name

    kind = torch.device(device or get_device_name()).type
    if kind != "cpu":
        raise UserError(
            f"quantize int8 is for processors, and this would run on {kind}: say --device cpu, or leave --quantize out "
            "(a GPU is quicker in bfloat16)"
        )
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.onednn, "qlinear_pointwise"):
        raise UserError(f"quantize int8 needs oneDNN, and this torch ({torch.__version__}) has none; leave it out")


def quantized_dtype(dtype: torch.dtype | str | None) -> torch.dtype:
    """The type of what is not in int8: float32.

    Raises:
        UserError: another one was asked for.
    """
    if dtype is not None and str(dtype).removeprefix("torch.") != "float32":
        raise UserError(f"quantize int8 goes with float32 alone, not with dtype {dtype}; leave one of the two out")
    return torch.float32


def quantize_layers(module: nn.Module) -> int:
    """Put the linear layers under a module into int8, in place; how many there are."""
    done: dict[int, Int8Linear] = {}
    embeddings = {id(each.weight) for each in module.modules() if isinstance(each, nn.Embedding)}
    for path, parent in list(module.named_modules()):
        for name, child in list(parent._modules.items()):  # named_children leaves out a second name of a layer
            # of a subclass (attention's own output layer, an adapter) nobody knows how it is called
            if type(child) is not nn.Linear or id(child.weight) in embeddings:
                continue
            if any(part in f"{path}.{name}" for part in KEPT):
                continue
            if id(child) not in done:
                done[id(child)] = Int8Linear(child).train(child.training)
            setattr(parent, name, done[id(child)])
    return len(done)


def quantize_model(model: "Media") -> None:
    """Put the linear layers of a model's towers into int8, in place.

    Raises:
        UserError: it has none.
    """
    if not quantize_layers(model[0]):
        raise UserError(f"{model.source}: no linear layers to put into int8; leave --quantize out")
    model.quantized = "int8"
