"""Input that looks like a photograph to a processor: seeded, and neither zeros nor white noise.

Zeros take short cuts: a GPU whose operands toggle no bits draws less power and clocks higher.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Rounded channel statistics of ImageNet photographs, the ones torchvision's transforms divide by.
_MEAN, _STD = 0.45, 0.225


def natural_images(batch: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Images (B, 3, H, W) in 0..1, float32, the same ones for the same arguments.

    Their amplitude falls as one over the spatial frequency, as in natural scenes (Field, "Relations
    between the statistics of natural images and the response properties of cortical cells", JOSA A
    4, 1987), and their channels share most of what they show.
    """
    draw = torch.Generator().manual_seed(seed)
    luminance = torch.randn(batch, 1, height, width, generator=draw)
    colour = torch.randn(batch, 3, height, width, generator=draw)
    scene = _falling_spectrum(luminance + 0.3 * colour)
    scene = (scene - scene.mean((1, 2, 3), keepdim=True)) / scene.std((1, 2, 3), keepdim=True)
    return (scene * _STD + _MEAN).clamp(0, 1).contiguous()


def _falling_spectrum(noise: Tensor) -> Tensor:
    """White noise (B, C, H, W) with its amplitudes divided by the radial frequency."""
    height, width = noise.shape[-2:]
    vertical = torch.fft.fftfreq(height)[:, None]  # (H, 1), cycles per pixel
    horizontal = torch.fft.rfftfreq(width)[None, :]  # (1, W // 2 + 1)
    lowest = 1.0 / max(height, width)
    radius = torch.hypot(vertical, horizontal).clamp_min(lowest)
    scene: Tensor = torch.fft.irfft2(torch.fft.rfft2(noise) / radius, s=(height, width))
    return scene
