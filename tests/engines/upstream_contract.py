"""Run by the Python of a checkout of NVIDIA's cosmos-transfer2.5: what its own classes make of our files and arguments.

Reads ``{"commands": [arguments of examples/inference.py, ...], "chunks": [[frames, length, overlap], ...]}`` from
standard input, writes what was understood to standard output. Nothing here needs a GPU; of what the repository imports,
only the package that proves its CUDA extra is replaced where it is absent.
"""

import ast
import contextlib
import importlib.util
import io
import json
import sys
import types
from pathlib import Path

ROOT = Path.cwd()
sys.path[:0] = [str(ROOT), str(ROOT / "packages" / "cosmos-oss"), str(ROOT / "examples")]
if importlib.util.find_spec("cosmos_cuda") is None:
    about = {}
    exec((ROOT / "cosmos_transfer2" / "__about__.py").read_text(), about)
    sys.modules["cosmos_cuda"] = types.ModuleType("cosmos_cuda")
    sys.modules["cosmos_cuda"].__version__ = about["__version__"]

import inference  # noqa: E402 - the repository's examples/inference.py
import tyro  # noqa: E402
from cosmos_transfer2.config import MODEL_CHECKPOINTS, InferenceArguments  # noqa: E402

SOURCES = ROOT / "cosmos_transfer2" / "_src"


def parsed(arguments: list[str]) -> dict:
    """What a command line and its specifications are understood as, or the error that the program ends with."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            args = tyro.cli(inference.Args, args=arguments, config=(tyro.conf.OmitArgPrefixes,))
            samples, keys = InferenceArguments.from_files(args.input_files, overrides=args.overrides)
        except SystemExit:
            return {"error": said.getvalue()}
    return {
        "setup": json.loads(args.setup.model_dump_json()),
        "guardrails": args.setup.enable_guardrails,
        "samples": [json.loads(sample.model_dump_json()) for sample in samples],
        "keys": keys,
    }


def method(path: Path, name: str):
    """A method of a class whose module needs a GPU to import, as a function."""
    tree = ast.parse(path.read_text())
    node = next(node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == name)
    node.returns = None
    for argument in node.args.args:
        argument.annotation = None
    space = {}
    exec(compile(ast.Module([node], []), str(path), "exec"), space)
    return space[name]


def texts(path: Path) -> list[str]:
    """All texts in a source."""
    return [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]


def sizes() -> dict:
    """Its table of frame sizes."""
    tree = ast.parse((SOURCES / "predict2" / "datasets" / "utils.py").read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "VIDEO_RES_SIZE_INFO":
            return ast.literal_eval(node.value)
        if isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "VIDEO_RES_SIZE_INFO":
            return ast.literal_eval(node.value)
    raise LookupError("VIDEO_RES_SIZE_INFO")


def main() -> None:
    """Answer."""
    asked = json.load(sys.stdin)
    count = method(SOURCES / "transfer2" / "inference" / "inference_pipeline.py", "_get_num_chunks")
    guardrail = SOURCES / "imaginaire" / "auxiliary" / "guardrail"

    class Frames:
        def __init__(self, frames):
            self.shape = (3, frames)

    answer = {
        "parsed": [parsed(arguments) for arguments in asked["commands"]],
        "checkpoints": {
            key.name: [checkpoint.hf.repository, checkpoint.hf.revision, checkpoint.hf.filename]
            for key, checkpoint in MODEL_CHECKPOINTS.items()
        },
        "chunks": [count(None, Frames(frames), length, overlap)[1] for frames, length, overlap in asked["chunks"]],
        "sizes": sizes(),
        "loaded": {
            "pictures": texts(SOURCES / "transfer2" / "networks" / "siglip2_image_context.py"),
            "prompts": texts(guardrail / "qwen3guard" / "qwen3guard.py"),
            "videos": texts(guardrail / "video_content_safety_filter" / "vision_encoder.py"),
            "guardrail": texts(guardrail / "common" / "core.py"),
            "guards": texts(guardrail / "common" / "presets.py")
            + [
                alias.name
                for node in ast.walk(ast.parse((guardrail / "common" / "presets.py").read_text()))
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            ],
            "models": texts(ROOT / "packages" / "cosmos-oss" / "cosmos_oss" / "checkpoints.py"),
        },
    }
    json.dump(answer, sys.stdout, default=str)


if __name__ == "__main__":
    main()
