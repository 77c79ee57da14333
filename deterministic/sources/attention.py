"""Which kernel scaled_dot_product_attention may choose, and in which order it looks."""

from __future__ import annotations

from .base import FlagSource, torch_flag

_KERNELS = ("flash", "mem_efficient", "math", "cudnn", "fa3", "overrideable")


class Attention(FlagSource):
    """`torch.backends.cuda.*_sdp`: the kernels that are allowed, their priority, and reductions in half precision."""

    name = "torch.attention"

    def __init__(self) -> None:
        super().__init__(
            (
                *(torch_flag(kernel, f"_get_{kernel}_sdp_enabled", f"_set_sdp_use_{kernel}") for kernel in _KERNELS),
                torch_flag("priority_order", "_get_sdp_priority_order", "_set_sdp_priority_order"),
                torch_flag(
                    "math_half_precision_reduction",
                    "_get_math_sdp_allow_fp16_bf16_reduction",
                    "_set_math_sdp_allow_fp16_bf16_reduction",
                ),
            )
        )
