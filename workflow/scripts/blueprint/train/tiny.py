"""A world model of a few thousand parameters, trained in a minute on a CPU, that shows the whole loop without a GPU.

It predicts the next frame from the frame now and the camera's motion: a small convolutional net guesses the inverse
depth of every pixel, and the motion moves the pixels accordingly. What it learns of a place is how far away things of a
look are. It is no DreamDojo and says nothing about one; it answers the same question on the same windows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from blueprint import torchvision_ops
from blueprint.export.episodes import Episode
from blueprint.files import whole_file
from blueprint.train.clips import Window, windows
from blueprint.train.interface import Place, Prediction, refuse_none

WIDTH, HEIGHT = 80, 60
CHANNELS = 12
BATCH = 16
LONGEST_STEP = 6
"""Frames that a training pair may lie apart; longer steps show more parallax."""
NEAREST_M, FARTHEST_M, USUAL_M = 0.2, 50.0, 3.0


class TinyWorldModel(nn.Module):
    """Frame now and motion -> frame next."""

    def __init__(self) -> None:
        """An untrained model takes everything to be 3 m away."""
        super().__init__()
        layers: list[nn.Module] = []
        channels = 5  # RGB and the pixel's own place
        for dilation in (1, 2, 4):
            layers += [nn.Conv2d(channels, CHANNELS, 3, padding=dilation, dilation=dilation), nn.ReLU()]
            channels = CHANNELS
        last = nn.Conv2d(CHANNELS, 1, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.depth = nn.Sequential(*layers, last)

    def inverse_depth(self, frames: torch.Tensor) -> torch.Tensor:
        """``[B, 3, H, W]`` RGB in 0-1 -> ``[B, 1, H, W]`` in 1/m."""
        height, width = frames.shape[-2:]
        rows = torch.linspace(-1, 1, height).view(1, 1, height, 1).expand(len(frames), 1, height, width)
        columns = torch.linspace(-1, 1, width).view(1, 1, 1, width).expand(len(frames), 1, height, width)
        guess = self.depth(torch.cat([frames, rows, columns], dim=1))
        return (guess.exp() / USUAL_M).clamp(1 / FARTHEST_M, 1 / NEAREST_M)

    def forward(self, frames: torch.Tensor, motions: torch.Tensor, K: torch.Tensor) -> torch.Tensor:
        """Predict the next frames.

        Args:
            frames: ``[B, 3, H, W]`` RGB in 0-1.
            motions: ``[B, 4, 4]``, from the OpenCV camera now to the next, metres.
            K: ``[B, 3, 3]``, pixels; pixel centres at +0.5.

        Returns:
            ``[B, 3, H, W]``.
        """
        height, width = frames.shape[-2:]
        inverse = self.inverse_depth(frames)
        rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
        pixels = torch.stack([columns, rows, torch.ones_like(rows)]).view(3, -1)
        rays = torch.linalg.inv(K) @ pixels  # [B, 3, HW], the depth guessed for the frame now serves the next
        back = torch.linalg.inv(motions)
        points = back[:, :3, :3] @ rays + back[:, :3, 3:] * inverse.flatten(2)
        seen = K @ points
        seen = seen[:, :2] / seen[:, 2:].clamp(min=1e-3)
        grid = (2 * seen / torch.tensor([width, height]).view(1, 2, 1) - 1).transpose(1, 2).view(-1, height, width, 2)
        return functional.grid_sample(frames, grid, padding_mode="border", align_corners=False)


def train(windows: Sequence[Window], steps: int, seed: int, start: Path | None, target: Path) -> dict[str, Any]:
    """Train on windows and write the parameters.

    Args:
        windows: what to train on.
        steps: of `BATCH` pairs of frames.
        seed: of the order of the pairs.
        start: parameters to begin with (None: untrained).
        target: ``.pt`` file.

    Returns:
        ``parameters``, ``steps``, ``loss`` at the end.
    """
    torch.manual_seed(0)
    model = TinyWorldModel()
    if start is not None:
        model.load_state_dict(torch.load(start, weights_only=True))
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    random = np.random.default_rng(seed)
    loss = torch.tensor(0.0)
    for _ in range(steps):
        now, motions, K, following = _pairs(windows, random)
        loss = functional.l1_loss(model(now, motions, K), following)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with whole_file(target) as part:
        torch.save(model.state_dict(), part)
    parameters = sum(values.numel() for values in model.parameters())
    return {"parameters": parameters, "steps": steps, "loss": round(loss.item(), 6)}


def _pairs(windows: Sequence[Window], random: np.random.Generator) -> tuple[torch.Tensor, ...]:
    now, motions, Ks, following = [], [], [], []
    for index in random.integers(len(windows), size=BATCH):
        window = windows[index]
        first = int(random.integers(len(window.frames) - 1))
        last = min(first + int(random.integers(1, LONGEST_STEP + 1)), len(window.frames) - 1)
        motion = np.eye(4, dtype=np.float32)
        for step in window.motions[first:last]:
            motion = step @ motion
        now.append(window.frames[first])
        following.append(window.frames[last])
        motions.append(motion)
        Ks.append(window.K)
    return _tensor(now), torch.from_numpy(np.stack(motions)), torch.from_numpy(np.stack(Ks)), _tensor(following)


def _tensor(frames: Sequence[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2).float().div_(255)


@torch.inference_mode()
def rollout(parameters: Path | None, window: Window) -> np.ndarray:
    """Predict all frames of a window from its first and the motions: ``[F - 1, H, W, 3]`` uint8 RGB."""
    model = TinyWorldModel()
    if parameters is not None:
        model.load_state_dict(torch.load(parameters, weights_only=True))
    frame = _tensor(window.frames[:1])
    K = torch.from_numpy(window.K)[None]
    made = []
    for motion in window.motions:
        frame = model(frame, torch.from_numpy(motion)[None], K)
        made.append(frame[0].permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy())
    return np.stack(made)


def post_train(episodes: Sequence[Episode], spec: Mapping[str, Any], target: Path, place: Place) -> dict[str, Any]:
    """Train on the windows of some episodes (see `blueprint.train.interface`)."""
    torch.set_num_threads(place.threads)
    chosen = _windows(episodes, spec)
    refuse_none(len(chosen), spec["window_frames"], spec)
    return {**train(chosen, **spec["settings"], seed=spec["seed"], start=None, target=target), "windows": len(chosen)}


def predict(
    episodes: Sequence[Episode], spec: Mapping[str, Any], parameters: Path | None, place: Place
) -> Iterator[Prediction]:
    """Predict the windows of some episodes; PSNR and SSIM of the predicted frames by piq."""
    torchvision_ops.make_importable()
    import piq

    torch.set_num_threads(place.threads)
    for window in _windows(episodes, spec):
        made, truth = rollout(parameters, window), window.frames[1:]
        pair = _tensor(made), _tensor(truth)
        pictures = np.concatenate([truth, made], axis=2)
        yield Prediction(
            *(window.episode, window.facility, window.look),
            *(float(piq.psnr(*pair)), float(piq.ssim(*pair))),
            lambda pictures=pictures: pictures,
        )


def _windows(episodes: Sequence[Episode], spec: Mapping[str, Any]) -> list[Window]:
    return list(windows(episodes, spec["window_frames"], WIDTH, HEIGHT))
