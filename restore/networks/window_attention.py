"""Self-attention inside windows of 8x8 pixels, on feature maps in window order.

Window order is (B, windows, 64, C): the windows of an image row by row, and the pixels of each window row by row. Layer
norm, perceptron and residual sums do not depend on the order of pixels. So a transformer block cuts the image into
windows once, and joins them once at its end.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

WINDOW = 8
"""Side of a window [pixels]."""
HEAD_DIM = 32
"""Channels of one attention head."""


def to_windows(image: Tensor, shift: int) -> Tensor:
    """(B, H, W, C), H and W multiples of 8 -> (B, windows, 64, C), after a cyclic shift to the upper left [pixels]."""
    batch, height, width, channels = image.shape
    if shift:
        image = image.roll((-shift, -shift), dims=(1, 2))
    windows = image.reshape(batch, height // WINDOW, WINDOW, width // WINDOW, WINDOW, channels).transpose(2, 3)
    return windows.reshape(batch, -1, WINDOW * WINDOW, channels)


def from_windows(windows: Tensor, height: int, width: int, shift: int) -> Tensor:
    """The inverse of to_windows: (B, windows, 64, C) -> (B, H, W, C)."""
    batch, _, _, channels = windows.shape
    windows = windows.reshape(batch, height // WINDOW, width // WINDOW, WINDOW, WINDOW, channels)
    image = windows.transpose(2, 3).reshape(batch, height, width, channels)
    return image.roll((shift, shift), dims=(1, 2)) if shift else image


def shift_mask(height: int, width: int, shift: int, device: torch.device) -> Tensor:
    """(windows, 64, 64): True where query and key are in one window only because the shift is cyclic.

    The shift moves the image's first rows below its last ones, and its first columns to the right of its last ones. Two
    pixels of a window may see each other if both rows or neither, and both columns or neither, were moved like that.
    """
    row_wrapped = torch.arange(height, device=device) >= height - shift
    column_wrapped = torch.arange(width, device=device) >= width - shift
    region = 2 * row_wrapped[:, None].int() + column_wrapped.int()
    region = to_windows(region[None, :, :, None], shift=0)[0, :, :, 0]
    return region[:, :, None] != region[:, None, :]


def relative_position_index() -> Tensor:
    """(64, 64) int64: the index of the offset query - key in the 15x15 parameters, flattened row by row."""
    places = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
    offsets = places[:, None] - places[None, :] + WINDOW - 1
    return offsets[..., 0] * (2 * WINDOW - 1) + offsets[..., 1]


class WindowAttention(nn.Module):
    """Multi-head self-attention inside each window, with a learnt bias for each offset between two of its pixels.

    windows    (B, windows, 64, C) both ways, C a multiple of 32
    shift_mask (windows, 64, 64), True where a query must not see a key; None where every pixel sees its whole window
    """

    relative_position_index: Tensor
    no_weight_decay = ("relative_position_params",)

    def __init__(self, channels: int):
        super().__init__()
        self.heads = channels // HEAD_DIM
        side = 2 * WINDOW - 1
        self.relative_position_params = nn.Parameter(torch.empty(self.heads, side, side))
        self.embedding_layer = nn.Linear(channels, 3 * channels)
        self.linear = nn.Linear(channels, channels)
        self.register_buffer("relative_position_index", relative_position_index(), persistent=False)
        nn.init.trunc_normal_(self.relative_position_params, std=0.02)

    def forward(self, windows: Tensor, shift_mask: Tensor | None) -> Tensor:
        batch, count, pixels, channels = windows.shape
        qkv = self.embedding_layer(windows).view(batch, count, pixels, 3, self.heads, HEAD_DIM)
        bias = self.relative_position_params.flatten(1)[:, self.relative_position_index][None]  # (1, heads, 64, 64)
        if shift_mask is not None:
            bias = bias.masked_fill(shift_mask[:, None], float("-inf"))  # (windows, heads, 64, 64)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5)
        mixed = attend(query, key, value, bias)
        return self.linear(mixed.transpose(2, 3).reshape(batch, count, pixels, channels))


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """softmax(query key^T / sqrt(32) + bias) value.

    query, key, value  (B, windows, heads, 64, 32)
    bias               (windows, heads, 64, 64), or (1, heads, 64, 64) for all windows
    Returns (B, windows, heads, 64, 32).
    """
    if query.is_cuda:  # the fused kernels take only 4-D tensors
        bias = bias.expand(query.shape[1], -1, -1, -1).repeat(len(query), 1, 1, 1)
        mixed = functional.scaled_dot_product_attention(
            query.flatten(0, 1), key.flatten(0, 1), value.flatten(0, 1), attn_mask=bias
        )
        return mixed.view_as(value)
    logits = (query * HEAD_DIM**-0.5) @ key.mT
    logits += bias
    return logits.softmax(dim=-1) @ value
