"""What the trainer `dreamdojo` relies on, held against NVIDIA's own code: `pytest -m upstream`.

    DREAMDOJO_ROOT=<checkout at 02f119b759d5c7f84a399fdeea3c6e82e7ed6cff> pytest -m upstream -rA tests/train

Its sources are parsed, and those of its functions that need no GPU are run; nothing of it is installed.
"""

import ast
import os
import random
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from blueprint.export import windows
from blueprint.train.dreamdojo import checkpoint, run, upstream
from blueprint.train.trainers import DREAMDOJO_FILES, PRETRAINED, TRAINERS
from workflow_runs import REPOSITORY, git

ROOT = Path(os.environ.get("DREAMDOJO_ROOT", ""))
SETTINGS = {"steps": 100, "batch_size": 4, "gpus": 2}
CORE = "cosmos_predict2/_src"
pytestmark = [
    pytest.mark.upstream,
    pytest.mark.skipif(
        Path() == ROOT, reason="DREAMDOJO_ROOT names no checkout of NVIDIA's DreamDojo: not compared with it"
    ),
]


def source(path):
    return (ROOT / path).read_text()


def defined(path, *names):
    """The definition of a function, class or method in one of its files."""
    node = ast.parse(source(path))
    for name in names:
        node = next(found for found in ast.walk(node) if getattr(found, "name", None) == name)
    return node


def executed(path, *names, **given):
    """A function of one of its files, run by itself."""
    node = defined(path, *names)
    node.returns, node.decorator_list = None, []
    exec(compile(ast.Module([node], []), path, "exec"), given)
    return given[names[-1]]


def fields(path, name):
    return {node.target.id for node in defined(path, name).body if isinstance(node, ast.AnnAssign)}


def overrides():
    words = upstream.training_command(ROOT, Path("a folder"), SETTINGS, 0, 10)
    given = words[words.index("--") + 1 :]
    return words, dict(word.split("=", 1) for word in given if not word.startswith("~"))


def test_it_is_the_pinned_commit():
    pinned = (REPOSITORY / "envs" / "dreamdojo.post-deploy.sh").read_text()
    assert git(ROOT, "rev-parse", "HEAD") in pinned


def test_the_program_and_experiment_exist():
    words, given = overrides()
    assert (ROOT / words[words.index("-m", 3) + 1].replace(".", "/")).with_suffix(".py").is_file()
    assert (ROOT / upstream.CONFIG).is_file()
    assert 'var_name = f"dreamdojo_{experiment_name}"' in source("cosmos_predict2/experiments/base/action.py")
    assert (ROOT / "configs" / f"{given['experiment'].removeprefix('dreamdojo_')}.yaml").is_file()
    parser = source("packages/cosmos-oss/cosmos_oss/scripts/train.py")
    assert 'parser.add_argument("--config"' in parser
    assert "nargs=argparse.REMAINDER" in parser


def test_every_override_is_a_key_of_its_configuration():
    given = overrides()[1]
    sections = {"job": "JobConfig", "trainer": "TrainerConfig", "checkpoint": "CheckpointConfig"}
    known = {
        f"{section}.{name}"
        for section, kind in sections.items()
        for name in fields(f"{CORE}/imaginaire/config.py", kind)
    }
    loader = yaml.safe_load(source("configs/2b_480_640_gr1.yaml"))["dataloader_train"]
    known |= {"dataloader_train.batch_size", *(f"dataloader_train.dataset.{name}" for name in loader["dataset"])}
    assert set(given) - known == {"experiment"}
    assert loader["dataset"]["num_frames"] == upstream.TRAINED_FRAMES
    assert "~dataloader_train.dataloaders" in source("launch.sh")


def test_every_option_of_the_evaluation_is_known():
    model = Path("c/iter_000000000") / run.MODEL
    words = upstream.evaluation_command(ROOT, [Path("w0")], 49, model, Path("out"))
    known = fields("cosmos_predict2/action_conditioned_config.py", "ActionConditionedSetupArguments")
    known |= fields("cosmos_predict2/config.py", "CommonSetupArguments")
    options = {word[2:].replace("-", "_") for word in words if word.startswith("--")}
    assert options - known == set()
    assert 'aliases=("-o",)' in source("cosmos_predict2/config.py")
    assert (ROOT / words[1]).is_file()
    assert f"chunk_size: int = {upstream.CHUNK_FRAMES}" in source("cosmos_predict2/action_conditioned_config.py")


def test_paths_are_read_as_we_say():
    data = "groot_dreams/data/dataset_video.py"
    keep = executed(data, "filter_video_files", List=list)
    for word in windows.DROPPED:
        assert keep([f"/a/{word}/w000000.mp4"]) == []
    assert keep(["/a/w000000.mp4"]) == ["/a/w000000.mp4"]
    robot = executed("groot_dreams/dataloader.py", "is_lerobot_dataset")
    others = [word for word in windows.ROBOTS if not robot(f"/a/{word}/b")]
    assert all(f'"{word}" in' in source(data) + source("groot_dreams/dataloader.py") for word in others)
    assert not robot("/a/windows")


def test_a_window_with_one_frame_more_has_one_start():
    """Its own line that draws the start; a file of exactly as many frames as it reads is an error for ever."""
    (line,) = re.findall(r"start = (randint\(.*\)) if self", source("groot_dreams/data/dataset_video.py"))
    for frames in (13, 49):
        starts = {eval(line, {"randint": random.randint, "total": frames + 1, "num_frames": frames}) for _ in range(50)}
        assert starts == {0}
        with pytest.raises(ValueError, match="empty range"):
            eval(line, {"randint": random.randint, "total": frames, "num_frames": frames})


@pytest.mark.parametrize("count", [1, 29, 100, 999])
def test_file_number_i_is_of_window_i(count):
    """Its own sampling, with each window a dataset of one file."""
    pick = executed("groot_dreams/dataloader.py", "MultiVideoActionDataset", "__getitem__", random=random)
    many = SimpleNamespace(
        datasets=[[number] for number in range(count)],
        deterministic_uniform_sampling=True,
        restrict_len=count,
        t5_text_embeddings=None,
        t5_text_mask=None,
    )
    assert [pick(many, index) for index in range(count)] == list(range(count))


def test_checkpoints_are_named_and_completed_as_we_read_them():
    code = source(f"{CORE}/predict2/checkpointer/dcp.py")
    assert f"KEYS_TO_SAVE = {list(checkpoint.PARTS)}".replace("'", '"') in code
    worker = ast.unparse(defined(f"{CORE}/predict2/checkpointer/dcp.py", "save_state_dict_worker"))
    assert worker.index("dcp.save(") < worker.index("_write_latest_checkpoint_file")
    assert 'checkpoint_file = f"iter_{iteration:09}"' in code
    assert f'"{checkpoint.LATEST}"' in source(f"{CORE}/imaginaire/checkpointer/base.py")
    where = ast.unparse(defined(f"{CORE}/imaginaire/config.py", "JobConfig"))
    assert "IMAGINAIRE_OUTPUT_ROOT" in where
    assert "{self.project}/{self.group}/{self.name}" in where


def test_weights_are_where_it_looks_for_them():
    assert f'"{upstream.WEIGHTS}/{DREAMDOJO_FILES[0]}"' in source(
        f"{CORE}/predict2/models/text2world_model_rectified_flow.py"
    )
    assert f"{upstream.WEIGHTS}/{PRETRAINED}/" in source("docs/POSTTRAIN.md")
    known = source(f"{CORE}/imaginaire/utils/checkpoint_db.py")
    for repository in TRAINERS["dreamdojo"].repositories[1:]:
        assert f'repository="{repository.id}"' in known
        assert f'revision="{repository.revision}"' in known
        assert all(f'filename="{name}"' in known for name in repository.files if name != "*")


def test_it_writes_what_we_read():
    code = source("cosmos_predict2/action_conditioned.py")
    for name in ("_metrics.json", "_merged.mp4", "all_summary.json", '"psnr"', '"ssim"', '"lpips"'):
        assert name in code
    assert "setup_args.save_dir) / checkpoint_path.parent.name" in code
    assert run.MODEL in source("scripts/convert_distcp_to_pt.py")
    assert "input_dir: tyro.conf.Positional" in source("scripts/convert_distcp_to_pt.py")
    assert '"sudo", "chmod"' in source("examples/action_conditioned.py"), "which is why it is given a converted one"
