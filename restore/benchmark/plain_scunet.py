"""A plain SCUNet as its paper describes it: the reference for the speed and the output of restore/networks/scunet.py.

Feature maps are (B, C, H, W) between the layers, every attention cuts its own windows, and the shift mask and the index
of the relative positions are made anew at each call. The state dict has the published names, so that both networks can
load the same weights.
Source: Zhang et al., Practical Blind Denoising via Swin-Conv-UNet and Data Synthesis, 2022 (arXiv 2203.13278).
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

WINDOW = 8
HEAD_DIM = 32


class PlainAttention(nn.Module):
    """Multi-head self-attention inside windows of an image (B, H, W, C); shifted by half a window, or not."""

    def __init__(self, dim: int, shifted: bool):
        super().__init__()
        self.shifted = shifted
        self.embedding_layer = nn.Linear(dim, 3 * dim)
        self.relative_position_params = nn.Parameter(torch.zeros(dim // HEAD_DIM, 2 * WINDOW - 1, 2 * WINDOW - 1))
        self.linear = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_params, std=0.02)

    def forward(self, image: Tensor) -> Tensor:
        half = WINDOW // 2
        if self.shifted:
            image = torch.roll(image, (-half, -half), dims=(1, 2))
        rows, columns = image.shape[1] // WINDOW, image.shape[2] // WINDOW
        windows = rearrange(image, "b (r i) (c j) d -> b (r c) (i j) d", i=WINDOW, j=WINDOW)
        qkv = rearrange(self.embedding_layer(windows), "b w p (three h d) -> three h b w p d", three=3, d=HEAD_DIM)
        query, key, value = qkv
        logits = torch.einsum("hbwqd,hbwkd->hbwqk", query, key) * HEAD_DIM**-0.5
        logits = logits + rearrange(self.bias(), "h q k -> h 1 1 q k")
        if self.shifted:
            logits = logits.masked_fill(self.mask(rows, columns), float("-inf"))
        mixed = torch.einsum("hbwqk,hbwkd->hbwqd", logits.softmax(dim=-1), value)
        windows = self.linear(rearrange(mixed, "h b w p d -> b w p (h d)"))
        image = rearrange(windows, "b (r c) (i j) d -> b (r i) (c j) d", r=rows, i=WINDOW)
        return torch.roll(image, (half, half), dims=(1, 2)) if self.shifted else image

    def bias(self) -> Tensor:
        """(heads, 64, 64): the parameter that belongs to each offset query - key."""
        place = torch.tensor([[i, j] for i in range(WINDOW) for j in range(WINDOW)])
        offset = place[:, None] - place[None, :] + WINDOW - 1
        return self.relative_position_params[:, offset[..., 0], offset[..., 1]]

    def mask(self, rows: int, columns: int) -> Tensor:
        """(windows, 64, 64): True where query and key are in one window only because the shift is cyclic."""
        half = WINDOW // 2
        mask = torch.zeros(rows, columns, *[WINDOW] * 4, dtype=torch.bool, device=self.relative_position_params.device)
        mask[-1, :, :half, :, half:, :] = True
        mask[-1, :, half:, :, :half, :] = True
        mask[:, -1, :, :half, :, half:] = True
        mask[:, -1, :, half:, :, :half] = True
        return rearrange(mask, "r c qi qj ki kj -> (r c) (qi qj) (ki kj)")


class PlainTransformer(nn.Module):
    """Attention and a two-layer perceptron, each after a layer norm and as a residual. (B, H, W, C) both ways."""

    def __init__(self, dim: int, shifted: bool):
        super().__init__()
        self.ln1 = nn.LayerNorm(dim)
        self.msa = PlainAttention(dim, shifted)
        self.ln2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, image: Tensor) -> Tensor:
        image = image + self.msa(self.ln1(image))
        return image + self.mlp(self.ln2(image))


class PlainBlock(nn.Module):
    """Half of the channels through two 3x3 convolutions, half through a transformer. (B, 2 half, H, W) both ways."""

    def __init__(self, half: int, shifted: bool):
        super().__init__()
        self.trans_block = PlainTransformer(half, shifted)
        self.conv1_1 = nn.Conv2d(2 * half, 2 * half, 1)
        self.conv1_2 = nn.Conv2d(2 * half, 2 * half, 1)
        self.conv_block = nn.Sequential(
            nn.Conv2d(half, half, 3, padding=1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(half, half, 3, padding=1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        convolved, attended = self.conv1_1(x).chunk(2, dim=1)
        convolved = self.conv_block(convolved) + convolved
        attended = rearrange(self.trans_block(rearrange(attended, "b c h w -> b h w c")), "b h w c -> b c h w")
        return x + self.conv1_2(torch.cat((convolved, attended), dim=1))


class PlainSCUNet(nn.Module):
    """The published network, without stochastic depth and without a final sigmoid. (B, n_channels, H, W) both ways."""

    def __init__(self, n_channels: int, config: tuple[int, ...], dim: int = 64):
        super().__init__()

        def blocks(level: int, count: int) -> list[nn.Module]:
            return [PlainBlock(dim * 2**level // 2, shifted=index % 2 == 1) for index in range(count)]

        def down(level: int) -> nn.Module:
            return nn.Conv2d(dim * 2**level, dim * 2 ** (level + 1), 2, 2, bias=False)

        def up(level: int) -> nn.Module:
            return nn.ConvTranspose2d(dim * 2 ** (level + 1), dim * 2**level, 2, 2, bias=False)

        self.m_head = nn.Sequential(nn.Conv2d(n_channels, dim, 3, padding=1, bias=False))
        self.m_down1 = nn.Sequential(*blocks(0, config[0]), down(0))
        self.m_down2 = nn.Sequential(*blocks(1, config[1]), down(1))
        self.m_down3 = nn.Sequential(*blocks(2, config[2]), down(2))
        self.m_body = nn.Sequential(*blocks(3, config[3]))
        self.m_up3 = nn.Sequential(up(2), *blocks(2, config[4]))
        self.m_up2 = nn.Sequential(up(1), *blocks(1, config[5]))
        self.m_up1 = nn.Sequential(up(0), *blocks(0, config[6]))
        self.m_tail = nn.Sequential(nn.Conv2d(dim, n_channels, 3, padding=1, bias=False))

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        x1 = self.m_head(functional.pad(image, (0, -width % 64, 0, -height % 64), mode="replicate"))
        x2 = self.m_down1(x1)
        x3 = self.m_down2(x2)
        x4 = self.m_down3(x3)
        x = self.m_body(x4)
        x = self.m_up3(x + x4)
        x = self.m_up2(x + x3)
        x = self.m_up1(x + x2)
        return self.m_tail(x + x1)[..., :height, :width]
