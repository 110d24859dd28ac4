"""A stand-in for NVIDIA's examples/inference.py (commit 2ff49d0717af02057ae79bc75c00fbff9da1b4e7).

Same command line, same specification keys and checks (unknown keys of a control are ignored), same files in the same
order, same exit status when a sample is skipped. The "model" inverts the input, in chunks of as many frames as the VAE
decodes; masks pass through the folder for temporary files; an empty negative prompt has no embedding; offline, what it
loads must be in the cache. Environment variables of the test make it misbehave:

    DOUBLE_LOG       file to which every process appends what it was asked to do
    DOUBLE_BLOCK     name of a sample whose prompt the guardrail blocks (when it is on)
    DOUBLE_SKIP      name of a sample that is left out without a word, exit status 0
    DOUBLE_FAIL      name of a sample at which the process dies
    DOUBLE_HANG_AT   number of samples after which it waits for ever
    DOUBLE_SHORT     name of a sample that comes out a frame short
    DOUBLE_UNSEEN    prompt of a mask for which nothing is found
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Literal

import av
import numpy as np
import pydantic

CONTROL_KEYS = ["edge", "vis", "depth", "seg"]
Threshold = Literal["very_low", "low", "medium", "high", "very_high"]
File = Annotated[pydantic.FilePath, pydantic.AfterValidator(lambda path: path.expanduser().absolute())]


class Control(pydantic.BaseModel):
    control_path: File | None = None
    control_weight: Annotated[float, pydantic.Field(ge=0, le=1)] = 1.0
    mask_path: File | None = None
    mask_prompt: str | None = None


class Edge(Control):
    preset_edge_threshold: Threshold = "medium"


class Vis(Control):
    preset_blur_strength: Threshold = "medium"


class Seg(Control):
    control_prompt: str | None = None


class Sample(pydantic.BaseModel, extra="forbid"):
    name: str
    prompt: str
    video_path: File
    prompt_path: File | None = None
    negative_prompt: str = "the model's own"
    seed: int = 2025
    guidance: Annotated[int, pydantic.Field(ge=0, le=7)] = 3
    max_frames: pydantic.PositiveInt | None = None
    context_frame_index: pydantic.PositiveInt | None = None
    image_context_path: File | None = None
    num_conditional_frames: Literal[0, 1, 2] = 1
    resolution: str = "720"
    sigma_max: Annotated[str, pydantic.Field(strict=True)] | None = None
    num_video_frames_per_chunk: pydantic.PositiveInt = 93
    num_steps: pydantic.PositiveInt = 35
    show_control_condition: bool = False
    show_input: bool = False
    keep_input_resolution: bool = True
    edge: Edge | None = None
    depth: Control | None = None
    vis: Vis | None = None
    seg: Seg | None = None
    guided_generation_mask: Path | None = None
    guided_generation_step_threshold: int = 25
    guided_generation_foreground_labels: list[int] | None = None

    @pydantic.model_validator(mode="after")
    def check(self):
        if not self.keys:
            raise ValueError("No controls provided, please provide at least one control key (edge, blur, depth, seg)")
        if self.vis and self.image_context_path:
            raise ValueError("vis control and image_context_path are both used to transfer style.")
        return self

    @property
    def keys(self):
        return [key for key in CONTROL_KEYS if getattr(self, key) is not None]


def arguments():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-i", "--input-files", nargs="+", type=Path, required=True)
    parser.add_argument("-o", "--output-dir", type=Path, required=True)
    models = ["edge", "depth", "seg", "vis"]
    if os.environ.get("COSMOS_EXPERIMENTAL_CHECKPOINTS") == "1":
        models.append("edge/distilled")
    parser.add_argument("--model", choices=models, default="edge")
    for flag, default in (("disable-guardrails", False), ("keep-going", True), ("offload-guardrail-models", False)):
        parser.add_argument(f"--{flag}", action=argparse.BooleanOptionalAction, default=default)
    return parser.parse_args()


def read(paths):
    samples = []
    for path in paths:
        lines = [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines()
        before = Path.cwd()
        os.chdir(path.parent)  # paths in a specification are relative to its folder
        try:
            samples += [Sample.model_validate(json.loads(line)) for line in lines]
        except pydantic.ValidationError as error:
            sys.exit(f"Error validating parameters from '{path}'\n{error}")
        os.chdir(before)
    names = [sample.name for sample in samples]
    if len(set(names)) < len(names):
        sys.exit(f"Error: Inference samplename is not unique in {names}")
    return samples


def write(path, frames, rate):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def chunked(frames, length, overlap):
    """What is left of the frames when each chunk is encoded and decoded: 4k+1 frames of it."""
    stride = length - overlap
    chunks = 1 + max(0, -(-(len(frames) - length) // stride))
    decoded = 4 * ((length - 1) // 4) + 1
    made = []
    for number in range(chunks):
        chunk = frames[number * stride : number * stride + length]
        while len(chunk) < length:  # by reflection
            chunk = chunk + (chunk[-2::-1] or chunk)[: length - len(chunk)]
        made += chunk[:decoded][overlap if number else 0 :]
    return made[: len(frames)]


def find_mask(sample, key, control, frames, rate):
    """The frames of a mask, through a file that is named after the input alone; None when nothing is found."""
    path = Path(tempfile.gettempdir()) / f"{sample.video_path.stem}_{key}_mask.mp4"
    if control.mask_prompt == os.environ.get("DOUBLE_UNSEEN"):
        print(f"No mask generated for prompt '{control.mask_prompt}'", flush=True)
        return None
    write(path, [np.full_like(frame, 255) for frame in frames], rate)
    return read_frames(path)[0]


def read_frames(path):
    with av.open(str(path)) as container:
        rate = int(container.streams.video[0].average_rate)
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)], rate


EMBEDDINGS = {}


def negative_embedding(text):
    """That of the sample; of an empty text, that of the sample before, if there is one."""
    if text:
        EMBEDDINGS["negative"] = text
    elif "negative" not in EMBEDDINGS:
        raise AttributeError("'ControlVideo2WorldInference' object has no attribute 'neg_t5_embeddings'")
    return EMBEDDINGS["negative"]


def load(keys, args):
    """The models; in a job without network they are in the cache, or the job ends here."""
    if os.environ.get("HF_HUB_OFFLINE") != "1":
        return
    import huggingface_hub

    ids = ["nvidia/Cosmos-Transfer2.5-2B", "nvidia/Cosmos-Predict2.5-2B", "nvidia/Cosmos-Reason1-7B"]
    if len(keys) == 1 and not args.model.endswith("/distilled"):
        ids.append("google/siglip2-so400m-patch16-naflex")
    if not args.disable_guardrails:
        ids += ["nvidia/Cosmos-Guardrail1", "Qwen/Qwen3Guard-Gen-0.6B", "google/siglip-so400m-patch14-384"]
    cached = {repository.repo_id for repository in huggingface_hub.scan_cache_dir().repos}
    if absent := [name for name in ids if name not in cached]:
        raise OSError(f"We couldn't connect to the hub to load the files, and couldn't find them cached: {absent}")


def generate(sample, out, args):
    (out / f"{sample.name}.json").write_text(sample.model_dump_json())
    if not args.disable_guardrails and sample.name == os.environ.get("DOUBLE_BLOCK"):
        message = f"Guardrail blocked generation. Prompt: {sample.prompt}"
        print(message, flush=True)
        if args.keep_going:
            return
        raise Exception(message)
    if sample.name == os.environ.get("DOUBLE_SKIP"):
        return
    if sample.name == os.environ.get("DOUBLE_FAIL"):
        raise RuntimeError("CUDA out of memory")
    frames, rate = read_frames(sample.video_path)
    if not args.model.endswith("/distilled"):
        print(f"negative prompt: {negative_embedding(sample.negative_prompt)}", flush=True)
    if sample.name == os.environ.get("DOUBLE_SHORT"):
        frames.pop()
    for key in sample.keys:
        write(out / f"{sample.name}_control_{key}.mp4", frames, rate)
        control = getattr(sample, key)
        if control.mask_prompt and not control.mask_path and (mask := find_mask(sample, key, control, frames, rate)):
            write(out / f"{sample.name}_mask_{key}.mp4", mask, rate)
    kept = chunked(frames, sample.num_video_frames_per_chunk, sample.num_conditional_frames)
    made = [np.roll(255 - frame, sample.seed, axis=2) for frame in kept]
    write(out / f"{sample.name}.mp4", made, rate)
    (out / f"{sample.name}.txt").write_text(sample.prompt)


def main():
    args = arguments()
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    samples = read(args.input_files)
    if args.model == "edge/distilled" and {key for sample in samples for key in sample.keys} != {"edge"}:
        raise KeyError("there is no other distilled checkpoint")
    if rank:
        return
    asked = {
        "samples": [json.loads(path.read_text()) for path in args.input_files],
        "guardrails": not args.disable_guardrails,
        "keep_going": args.keep_going,
        "model": args.model,
        "world_size": world,
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "temporary": tempfile.gettempdir(),
    }
    with Path(os.environ["DOUBLE_LOG"]).open("a") as log:
        print(json.dumps(asked), file=log)
    load({key for sample in samples for key in sample.keys}, args)
    args.output_dir.mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples):
        if str(number) == os.environ.get("DOUBLE_HANG_AT"):
            time.sleep(600)
        print(f"[{number + 1}/{len(samples)}] Processing sample {sample.name}", flush=True)
        generate(sample, args.output_dir, args)


if __name__ == "__main__":
    main()
