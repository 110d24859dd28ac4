"""How fast the enrichment engines are, and how much memory they need.

    .venv/bin/python benchmarks/enrich.py                       photometric presets, speed
    .venv/bin/python benchmarks/enrich.py --clip FOLDER         photometric presets, what they keep of a rendered clip
    .venv/bin/python benchmarks/enrich.py --engine diffusers    Cosmos-Transfer2.5 through diffusers

On a GPU the last builds the full-size architecture with random weights (nothing is downloaded; embeddings are random
too) and times one denoising step, compares attention backends, batched guidance and `torch.compile`, then makes a
whole clip with and without offload. Without a GPU it runs a tiny model of the same classes and says so: that shows that
the program works and nothing about speed.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from blueprint import poses, torchvision_ops
from blueprint.depth import iterate_depth
from blueprint.engines.photometric import run as photometric
from blueprint.engines.presets import PRESETS
from blueprint.engines.task import Clip, Variant
from blueprint.metrics.frames import View
from blueprint.metrics.stability import flicker
from blueprint.video import probe, read_video, write_video

torchvision_ops.make_importable()
from diffusers import (  # noqa: E402
    AutoencoderKLWan,
    Cosmos2_5_TransferPipeline,
    CosmosControlNetModel,
    CosmosTransformer3DModel,
    UniPCMultistepScheduler,
)

from blueprint.engines.diffusers.run import OFFLOAD_SEQUENCE, generate  # noqa: E402
from blueprint.engines.pipelines import Guardrails  # noqa: E402
from blueprint.metrics.score import ClipFiles, score  # noqa: E402

# NVIDIA's docs/inference.md: seconds for 93 frames at 720p, 35 steps, one GPU.
PUBLISHED_S = {"H100 PCIe, seg": 264.13, "H100 NVL, seg": 445.52, "H100 NVL, edge": 502.6, "B200, seg": 92.25}
STEPS = 35
# The released model: `Cosmos-2.5-Transfer-General-2B` of diffusers' conversion script.
SHARED = {
    "attention_head_dim": 128,
    "num_attention_heads": 16,
    "mlp_ratio": 4.0,
    "text_embed_dim": 1024,
    "adaln_lora_dim": 256,
    "max_size": (128, 240, 240),
    "patch_size": (1, 2, 2),
    "rope_scale": (1.0, 3.0, 3.0),
    "extra_pos_embed_type": None,
    "img_context_dim_in": 1152,
    "img_context_dim_out": 2048,
    "use_crossattn_projection": True,
    "crossattn_proj_in_channels": 100352,
    "encoder_hidden_states_channels": 1024,
}
FULL = {
    "size": (1280, 704, 93),
    "shared": SHARED,
    "transformer": {"num_layers": 28, "controlnet_block_every_n": 7, "img_context_num_tokens": 256},
    "controlnet": {"n_controlnet_blocks": 4, "in_channels": 130, "model_channels": 2048},
    "vae": {},
}
TINY = {
    "size": (96, 64, 5),
    "shared": SHARED
    | {"attention_head_dim": 16, "num_attention_heads": 2, "mlp_ratio": 2.0, "text_embed_dim": 32}
    | {"adaln_lora_dim": 4, "img_context_dim_in": 32, "img_context_dim_out": 32, "crossattn_proj_in_channels": 64}
    | {"encoder_hidden_states_channels": 32},
    "transformer": {"num_layers": 2, "controlnet_block_every_n": 1, "img_context_num_tokens": 4},
    "controlnet": {"n_controlnet_blocks": 2, "in_channels": 130, "model_channels": 32},
    "vae": {"base_dim": 3, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
}
BACKENDS = ("native", "_native_cudnn", "_native_flash", "_native_efficient")


def build(model: dict[str, Any], device: torch.device, dtype: torch.dtype) -> Cosmos2_5_TransferPipeline:
    """The pipeline with random weights, without a text encoder."""
    torch.manual_seed(0)
    with torch.device(device):
        transformer = CosmosTransformer3DModel(
            in_channels=17, out_channels=16, **model["shared"], **model["transformer"]
        )
        controlnet = CosmosControlNetModel(latent_channels=18, **model["shared"], **model["controlnet"])
        vae = AutoencoderKLWan(temperal_downsample=[False, True, True], **model["vae"])
    return Cosmos2_5_TransferPipeline(
        text_encoder=None,
        tokenizer=None,
        transformer=transformer.to(dtype).eval(),
        vae=vae.to(dtype).eval(),
        scheduler=UniPCMultistepScheduler(),
        controlnet=controlnet.to(dtype).eval(),
        safety_checker=Guardrails(None),
    )


def random_embeddings(pipe: Cosmos2_5_TransferPipeline, variant: Variant) -> dict[str, torch.Tensor]:
    """Embeddings [1, 512, C] of the variant's two prompts."""
    channels = pipe.transformer.config.crossattn_proj_in_channels
    made = torch.randn(2, 1, 512, channels, generator=torch.Generator().manual_seed(0)).to(pipe.transformer.dtype)
    return {variant.prompt: made[0], variant.negative_prompt: made[1]}


def step_inputs(pipe: Cosmos2_5_TransferPipeline, size: tuple[int, int, int], batch: int) -> dict[str, torch.Tensor]:
    """What one denoising step of the pipeline hands to its models: latents [B, 16, T, H, W] and the rest."""
    width, height, frames = size
    dtype, device = pipe.transformer.dtype, pipe.transformer.device
    config = pipe.transformer.config
    shape = (batch, 1, (frames - 1) // 4 + 1, height // 8, width // 8)
    text = torch.randn(batch, 512, config.crossattn_proj_in_channels, dtype=dtype, device=device)
    image = torch.zeros(batch, config.img_context_num_tokens, config.img_context_dim_in, dtype=dtype, device=device)
    return {
        "latents": torch.randn(batch, 16, *shape[2:], dtype=dtype, device=device),
        "controls": torch.randn(batch, 16, *shape[2:], dtype=dtype, device=device),
        "mask": torch.zeros(shape, dtype=dtype, device=device),
        "timestep": torch.full((batch, 1, shape[2], 1, 1), 0.5, dtype=dtype, device=device),
        "padding": torch.zeros(1, 1, height, width, dtype=dtype, device=device),
        "text": text,
        "image": image,
    }


@torch.no_grad()
def denoise(pipe: Cosmos2_5_TransferPipeline, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    """ControlNet and transformer once."""
    common = {
        "timestep": inputs["timestep"],
        "encoder_hidden_states": (inputs["text"], inputs["image"]),
        "condition_mask": inputs["mask"],
        "padding_mask": inputs["padding"],
        "return_dict": False,
    }
    blocks = pipe.controlnet(controls_latents=inputs["controls"], latents=inputs["latents"], **common)[0]
    return pipe.transformer(hidden_states=inputs["latents"], block_controlnet_hidden_states=blocks, **common)[0]


def seconds(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Median seconds of some runs after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        if device.type == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


@contextmanager
def peak_memory(device: torch.device, found: dict[str, float]) -> Iterator[None]:
    """Note the largest reserved memory, in GB, of a block."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    yield
    found["gb"] = torch.cuda.max_memory_reserved() / 1e9 if device.type == "cuda" else float("nan")


def bench_diffusers(console: Console, repeats: int) -> None:
    """One step in several ways, then whole clips."""
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    model, dtype, steps = (FULL, torch.bfloat16, STEPS) if device.type == "cuda" else (TINY, torch.float32, 2)
    if model is TINY:
        console.print("No GPU here: a tiny model of the same classes runs instead. These are no figures of the engine.")
    console.print(step_table(build(model, device, dtype), model["size"], device, repeats))
    published = ", ".join(f"{card} {figure} s" for card, figure in PUBLISHED_S.items())
    console.print(f"NVIDIA's own engine, {STEPS} steps: {published}")
    console.print(clip_table(model, device, dtype, steps))


def step_table(
    pipe: Cosmos2_5_TransferPipeline, size: tuple[int, int, int], device: torch.device, repeats: int
) -> Table:
    """Seconds and memory of a denoising step: attention backends, batched guidance, compilation."""
    for name in ("transformer", "controlnet", "vae"):
        parameters = sum(parameter.numel() for parameter in getattr(pipe, name).parameters())
        print(f"{name}: {parameters / 1e9:.3f} G parameters")
    table = Table("one denoising step, guidance on", "seconds", f"x {STEPS} steps", "peak GB")
    one, two = (step_inputs(pipe, size, batch) for batch in (1, 2))
    parts = (pipe.transformer, pipe.controlnet)

    def twice() -> None:
        denoise(pipe, one)
        denoise(pipe, one)

    def measure(name: str, run: Callable[[], Any]) -> None:
        found: dict[str, float] = {}
        try:
            with peak_memory(device, found):
                took = seconds(run, device, repeats)
        except (RuntimeError, ValueError) as error:  # what this card or build does not have, or has no memory for
            table.add_row(name, f"not available: {str(error).splitlines()[0][:60]}", "", "")
        else:
            table.add_row(name, f"{took:.3f}", f"{took * STEPS:.1f}", f"{found['gb']:.1f}")

    for backend in BACKENDS if device.type == "cuda" else BACKENDS[:1]:
        for part in parts:
            part.set_attention_backend(backend)
        measure(f"attention {backend}", twice)
    for part in parts:
        part.set_attention_backend("native")
    measure("both guidance passes in one batch", lambda: denoise(pipe, two))
    if device.type == "cuda":
        for part in parts:
            part.compile_repeated_blocks(fullgraph=True)
        measure("torch.compile", twice)
    return table


def clip_table(model: dict[str, Any], device: torch.device, dtype: torch.dtype, steps: int) -> Table:
    """Seconds and memory of a whole clip through the engine's own `generate`, with and without offload."""
    width, height, frames = model["size"]
    table = Table(f"{frames} frames of {width}x{height}, {steps} steps", "seconds", "peak GB")
    rng = np.random.default_rng(0)
    controls = [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(frames)]
    variant = Variant("bench", 0, prompt="a hall", negative_prompt="blur", controls={"depth": {}})
    settings = {"num_video_frames_per_chunk": frames, "num_conditional_frames": 1, "guidance": 3, "num_steps": steps}
    for offload in (False, True):
        pipe = build(model, torch.device("cpu") if offload else device, dtype)
        if offload:
            pipe.model_cpu_offload_seq = OFFLOAD_SEQUENCE
            pipe.enable_model_cpu_offload(device=device)
        embeddings = random_embeddings(pipe, variant)
        found: dict[str, float] = {}
        with peak_memory(device, found):
            started = time.perf_counter()
            generate(pipe, controls, variant, 1.0, settings, embeddings)
            took = time.perf_counter() - started
        table.add_row("with offload" if offload else "all models on the device", f"{took:.1f}", f"{found['gb']:.1f}")
        del pipe
    return table


def bench_photometric(console: Console, width: int, height: int, repeats: int) -> None:
    """Seconds per frame of every preset, on a synthetic frame that shows a plane with texture."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    depth_m = np.full((height, width), 3.0, np.float32)
    K = np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]])
    scene = photometric.Scene(np.full(3, -3.0), np.full(3, 3.0), np.array([0.0, -1.0, 3.0]))
    table = Table(f"photometric, {width}x{height}", "seconds per frame")
    for name, look in PRESETS.items():
        pattern = photometric.fixed_pattern(height, width, look.pattern, 0)

        def frame(look: Any = look, pattern: np.ndarray = pattern) -> None:
            photometric.relit(rgb, depth_m, np.ones_like(depth_m), np.eye(4), K, look, scene, pattern)

        table.add_row(name, f"{seconds(frame, torch.device('cpu'), repeats):.4f}")
    console.print(table)


def bench_fidelity(console: Console, folder: Path) -> None:
    """What each preset keeps of a rendered clip: its edges, and how still it stands, frame warped onto frame."""
    rendered = ClipFiles(*(folder / name for name in ("rgb.mp4", "depth.npz", "cameras.json")))
    clip = Clip(rendered.rgb, folder / "depth.mp4", rendered.depth_m, rendered.cameras, probe(rendered.rgb))
    cameras = poses.read(clip.cameras)
    scene = photometric.place_scene(clip, cameras, seed=0)
    names = ["edge_agreement", "temporal_stability"]
    table = Table(f"presets on {folder}", *names, "flicker / render's own")
    renders = list(read_video(rendered.rgb))
    depths = [depth_m for depth_m, _ in iterate_depth(rendered.depth_m)]
    for name, look in PRESETS.items():
        frames = list(photometric.relit_frames(clip, cameras, look, scene, seed=0))
        views = [View(*view) for view in zip(renders, frames, depths, cameras.viewmats, cameras.Ks, strict=True)]
        with tempfile.TemporaryDirectory() as place:
            variant = Path(place) / "variant.mp4"
            write_video(variant, frames, cameras.fps)
            mean = score(rendered, variant, names, "cpu")["mean"]
        table.add_row(name, *(f"{mean[metric]:.3f}" for metric in names), f"{flicker(views):.2f}")
    console.print(table)


def main() -> None:
    """Parse the command line and print machine, versions and tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("photometric", "diffusers"), default="photometric")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(1280, 720), help="photometric: width and height in pixels"
    )
    parser.add_argument("--clip", type=Path, help="photometric: folder of a rendered clip")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each")
    args = parser.parse_args()
    console = Console(width=100)
    card = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    console.print(f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, {card}")
    console.print(
        ", ".join(f"{name} {version(name)}" for name in ("torch", "diffusers", "numpy")), sys.version.split()[0]
    )
    if args.clip:
        bench_fidelity(console, args.clip)
    elif args.engine == "photometric":
        bench_photometric(console, *args.size, args.repeats)
    else:
        bench_diffusers(console, args.repeats)


if __name__ == "__main__":
    main()
