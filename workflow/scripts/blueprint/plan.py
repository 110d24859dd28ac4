"""The plan of a run: from a completed configuration to facilities, clips, variants, and what each job is told.

What a rule needs to know about a job comes from here, and what a job needs to know comes in its specification. Such a
specification holds all that the job's product depends on besides the files it reads, and no more: Snakemake makes the
product again when it changes. Facts of the machine are in none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint.cameras import camera_path
from blueprint.cameras.dataset import dataset_files, read_photos
from blueprint.cameras.scale import metres_per_unit
from blueprint.config import refuse_unusable_files
from blueprint.config.names import clip_names
from blueprint.engines import Engine, engine
from blueprint.engines.base import PlannedClip, Repository
from blueprint.engines.variants import clip_spec, expand
from blueprint.errors import UserError
from blueprint.files import file_digest, value_digest
from blueprint.metrics.catalogue import check_names
from blueprint.train.trainers import Trainer, trainer

Spec = dict[str, Any]
LEVEL = ("up_axis", "floor_height_m", "metres_per_unit")
"""What is known of how a scene stands."""


@dataclass(frozen=True)
class Plan:
    """A run as configured. Made by `make_plan`, which has found everything in it to be possible."""

    config: Mapping[str, Any]
    """The completed configuration."""
    facilities: dict[str, Spec]
    """The configuration of each facility, by name."""
    clips: dict[str, dict[str, Spec]]
    """The clips of each facility, by name, fully specified."""
    variants: dict[str, Spec]
    """The variants by name, preset sets expanded."""
    engine: Engine
    enrich_specs: dict[tuple[str, str], Spec]
    """All that the variants of a facility's clip depend on, besides the rendered clip."""

    @property
    def environments(self) -> list[str]:
        """The environments that the jobs run in, files of envs/ by name."""
        return list(dict.fromkeys(("render", self.engine.environment, "metrics")))

    def scene_spec(self, facility: str) -> Spec:
        """All that the check of a scene depends on, besides the scene and its `scene_files`."""
        photos = self._photos_of_scene(facility)
        return {key: self.facilities[facility][key] for key in ("name", *LEVEL)} | (
            {"photos": photos} if photos else {}
        )

    def scene_files(self, facility: str) -> list[str]:
        """The files beside a scene that tell how it stands and how large it is: cameras of photos, a calibration.

        Raises:
            UserError: there is no such dataset.
        """
        photos = self._photos_of_scene(facility)
        files = [str(file) for file in dataset_files(Path(photos))] if photos else []
        calibration = self.facilities[facility].get("scale", {}).get("dataparser_transforms")
        return files + ([calibration] if calibration else [])

    def _photos_of_scene(self, facility: str) -> str | None:
        found = self.facilities[facility]
        return found.get("photos", {}).get("path") or found.get("scale", {}).get("photos")

    def camera_spec(self, facility: str, clip: str) -> Spec:
        """All that the camera path of a clip depends on, besides the scene."""
        spec = {**self.clips[facility][clip], **{key: self.facilities[facility][key] for key in LEVEL}}
        if self._looks_at_photos(facility, clip):
            spec["photos"] = self.facilities[facility]["photos"]["path"]
        return spec

    def _looks_at_photos(self, facility: str, clip: str) -> bool:
        path = camera_path(self.clips[facility][clip]["path"])
        return "photos" in self.facilities[facility] and path.around_sight is not None

    def camera_files(self, facility: str, clip: str) -> list[str]:
        """The files that a clip's camera path is read from, if any."""
        spec = self.clips[facility][clip]
        files = [spec[key] for key in camera_path(spec["path"]).files if key in spec]
        if self._looks_at_photos(facility, clip):
            files += map(str, dataset_files(Path(self.facilities[facility]["photos"]["path"])))
        return files

    def render_spec(self) -> Spec:
        """All that the pixels of a clip depend on, besides scene and cameras."""
        return {
            key: self.config["render"][key]
            for key in ("sh_degree", "background", "near_m", "far_m", "antialiased")
            if key in self.config["render"]
        }

    def photo_files(self, facility: str, absent_too: bool = False) -> list[str]:
        """The files of a facility's photos: the dataset's cameras, the images and their masks.

        Args:
            facility: its name.
            absent_too: also images that are not here; those of jobs elsewhere lie in a storage.

        Raises:
            UserError: there is no such dataset.
        """
        photos = self.facilities[facility].get("photos")
        if photos is None:
            return []
        path = Path(photos["path"])
        files = dict.fromkeys(dataset_files(path))
        for photo in read_photos(path):
            files |= dict.fromkeys([photo.image] if absent_too or photo.image.is_file() else [])
            files |= dict.fromkeys([photo.mask] if photo.mask else [])
        return [str(file) for file in files]

    def fidelity_spec(self, facility: str) -> Spec:
        """All that the verdict on a scan depends on, besides the scene, the clips' cameras and the photos."""
        entry, fidelity = self.facilities[facility], self.config["fidelity"]
        return {
            "facility": facility,
            **{key: entry[key] for key in (*LEVEL, "photos") if key in entry},
            "render": self.render_spec(),
            "places": fidelity["places"],
            "thresholds": fidelity["thresholds"],
        }

    def summary_spec(self, facility: str, envs: Path) -> Spec:
        """All that the summary of a facility depends on, besides its scores.

        Args:
            facility: its name.
            envs: the folder of environment files.
        """
        locks = ["laptop.constraints.txt", *(f"{name}.yaml" for name in self.environments)]  # the first: without conda
        metrics, enrich = self.config["metrics"], self.config["enrich"]
        decides = {
            "clips": self.config["clips"],
            "render": _without(self.config["render"], ["backend"]),
            "enrich": _without(enrich, self.engine.machine(enrich)),
            "metrics": _without(metrics, ["torch_home"]),
            "facility": self.facilities[facility],
        }
        return {
            "facility": facility,
            "clips": list(self.clips[facility]),
            "variants": list(self.variants),
            "names": metrics["names"],
            "thresholds": metrics["thresholds"],
            "configuration_digest": value_digest(decides),
            "environment_digests": {name: file_digest(envs / name) for name in locks},
        }

    def report_spec(self) -> Spec:
        """All that the page depends on, besides the results that it shows."""
        return {
            "title": self.config["report"]["title"],
            "facilities": {facility: list(clips) for facility, clips in self.clips.items()},
            "variants": list(self.variants),
            "names": self.config["metrics"]["names"],
        }

    def recording_spec(self, facility: str) -> Spec:
        """All that the recording of a facility depends on, besides the results that it shows."""
        return {
            "facility": facility,
            **{key: self.facilities[facility][key] for key in ("up_axis", "metres_per_unit")},
            "far_m": self.config["render"]["far_m"],
            "clips": list(self.clips[facility]),
            "variants": list(self.variants),
        }

    def tracking_spec(self) -> Spec:
        """Where a run is tracked, and what of it.

        Raises:
            UserError: the configuration names no server.
        """
        report = self.config["report"]
        if "track" not in report:
            raise UserError("report.track: not set. Give it the `uri` of an MLflow server (config/README.md).")
        where = {"experiment": report["title"], **report["track"]}
        return {**where, "facilities": {facility: list(clips) for facility, clips in self.clips.items()}}

    def comparison_spec(self) -> Spec:
        """All that the comparison of two runs depends on, besides their summaries."""
        return {"title": self.config["report"]["title"], "baseline": self.config["baseline"]}

    def export_spec(self) -> Spec:
        """All that a dataset depends on, besides the results that it is made of."""
        export, weights = self.config["export"], self.engine.repositories(self.config["enrich"])
        return {
            "facilities": {
                name: {"description": facility["description"], "clips": list(self.clips[name])}
                for name, facility in self.facilities.items()
            },
            "licences": {self.engine.name: sorted({repository.licence_url for repository in weights})},
            "options": {key: export[key] for key in ("name", "episodes_per_shard", "window_frames")},
            **{key: export[key] for key in ("verdicts", "render", "held_out_share", "held_out_facilities")},
        }

    @property
    def trainer(self) -> Trainer | None:
        """The world model that is post-trained, if any."""
        return trainer(self.config)

    def upstream(self, environment: str) -> str:
        """Folder of the installation beside an environment, where the configuration names one."""
        if self.trainer and self.trainer.environment == environment:
            return self.config["train"].get(self.trainer.root, "")
        return self.engine.upstream(self.config["enrich"])

    def training_spec(self) -> Spec:
        """All that post-training and its evaluation depend on, besides the clips.

        Raises:
            UserError: there is no training in the configuration.
        """
        if self.trainer is None:
            raise UserError("train: the configuration has none. Add `train: {engine: tiny}` (config/README.md).")
        train = self.config["train"]
        return {
            **self.export_spec(),
            "render": True,
            "title": self.config["report"]["title"],
            "trainer": self.trainer.title,
            "question": self.trainer.question,
            "trained_facilities": train["facilities"] or list(self.facilities)[:1],
            "settings": self.trainer.settings(train),
            **{key: train[key] for key in ("seed", "window_frames", "least_gain_db", "most_loss_db")},
        }

    def baseline_summaries(self) -> list[str]:
        """The summaries of the run to compare with.

        Raises:
            UserError: none is configured, or it holds no results.
        """
        folder = self.config["baseline"]
        if not folder:
            raise UserError(
                "compare: say which results to compare with: snakemake compare --config baseline=<its folder `results`>"
            )
        found = sorted(Path(folder).glob("*/summary.json"))
        if not found:
            raise UserError(f"baseline: {folder} holds no <facility>/summary.json. Name a folder `results`.")
        return [str(path) for path in found]


def _without(values: Mapping[str, Any], facts_of_the_machine: Iterable[str]) -> Spec:
    return {key: value for key, value in values.items() if key not in facts_of_the_machine}


def make_plan(config: Mapping[str, Any], source: str, files_are_here: bool = True) -> Plan:
    """Plan a run.

    Args:
        config: the completed configuration.
        source: the file that messages name.
        files_are_here: look at the files that the configuration names; a job without a shared folder has only its own.

    Raises:
        UserError: a file that the configuration names is absent or of another kind, a variant cannot be made by the
            engine, or frames are too small for a score.
    """
    if files_are_here:
        refuse_unusable_files(config, source)
    facilities = {
        facility["name"]: {**facility, "metres_per_unit": metres_per_unit(facility)}
        for facility in config["facilities"]
    }
    clips = {name: clips_of(config, facility) for name, facility in facilities.items()}
    sizes = {f"{facility}/{clip}": spec for facility in clips for clip, spec in clips[facility].items()}
    check_names(config["metrics"]["names"], sizes, source)
    for key, named in (
        ("export.held_out_facilities", config["export"]["held_out_facilities"]),
        ("train.facilities", config.get("train", {}).get("facilities", [])),
    ):
        if unknown := [name for name in named if name not in facilities]:
            raise UserError(f"{source}: {key}: found {unknown[0]!r}; the facilities are {', '.join(facilities)}.")
    try:
        enrich_specs = {
            (clip.facility["name"], clip.name): clip_spec(config["enrich"], clip) for clip in planned_clips(config)
        }
    except UserError as error:
        raise UserError(f"{source}: {error}") from error
    return Plan(
        config=config,
        facilities=facilities,
        clips=clips,
        variants=variants_of(config),
        engine=engine(config["enrich"]["engine"]),
        enrich_specs=enrich_specs,
    )


def repositories_needed(config: Mapping[str, Any]) -> list[Repository]:
    """The repositories that enrichment and training of a completed configuration download from."""
    trained = trainer(config)
    found = engine(config["enrich"]["engine"]).repositories(config["enrich"])
    return list(dict.fromkeys([*found, *(trained.repositories if trained else ())]))


def clips_of(config: Mapping[str, Any], facility: Mapping[str, Any]) -> dict[str, Spec]:
    """The clips of a facility by name, fully specified; ``count`` is expanded into ``<name>-0``, ``<name>-1``, ..."""
    entries = facility.get("clips", config["clips"])
    common = {key: config["render"][key] for key in ("width", "height", "fps", "frames")}
    specs = [
        {**common, **{key: value for key, value in entry.items() if key not in ("name", "count")}, "index": index}
        for entry in entries
        for index in range(entry.get("count", 1))
    ]
    return dict(zip(clip_names(entries), specs, strict=True))


def planned_clips(config: Mapping[str, Any]) -> list[PlannedClip]:
    """The clips of every facility."""
    return [
        PlannedClip(name, facility, clip["width"], clip["height"], clip["frames"])
        for facility in config["facilities"]
        for name, clip in clips_of(config, facility).items()
    ]


def variants_of(config: Mapping[str, Any]) -> dict[str, Spec]:
    """The variants by name, in the order of the configuration, preset sets expanded."""
    return {variant["name"]: variant for variant in expand(config["enrich"]["variants"])}
