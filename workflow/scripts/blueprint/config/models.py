"""The keys of the configuration: type, default, bounds, meaning, and what two keys together must not say.

What belongs to one engine, one camera path or one score stands with it and is composed here, by `configuration`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import Discriminator, Tag, create_model, field_validator, model_validator

from blueprint.cameras import PATHS, CameraPath
from blueprint.cameras.scale import Scale
from blueprint.config.names import Name, each_once, name_key, refuse_repeated_names
from blueprint.engines import ENGINES
from blueprint.engines.base import Engine
from blueprint.engines.presets import PRESET_SETS, PRESETS
from blueprint.export.keys import Export
from blueprint.fidelity.keys import Fidelity, Photos
from blueprint.metrics.catalogue import METRICS, Metric
from blueprint.section import Section, key
from blueprint.train.keys import Train
from blueprint.train.trainers import TRAINERS, Trainer

DEFAULT_ENGINE = "photometric"
RESULT_FILES = (
    *("report.html", "compare.html", "compare.csv", "audit.json", "passed.txt", "preflight", "dataset", "training"),
)
"""What a run writes into `results/` beside the folders of the facilities."""


class Facility(Section):
    """One scanned place; its clips are those of the configuration unless it has its own."""

    name: Name = name_key()
    scene: str = key(
        "Path of the splat (.ply, .compressed.ply, .spz, .splat, .sog). The demo rule makes "
        "`resources/demo/kitchen.ply` and `resources/demo/warehouse.ply`.",
        min_length=1,
    )
    description: str = key("What the place is; prompts can use it.", "")
    up_axis: Literal["x", "-x", "y", "-y", "z", "-z"] = key("The scene axis that points up.", "z")
    floor_height_m: float = key("Height of the floor along the up axis in metres.", 0)
    photos: Photos | None = key("The photos that the scan was made from; it is held against them.", None)
    metres_per_unit: float | None = key(
        "Length in metres of a unit of the scene's file (default 1). Captures from photos alone have units of any "
        "length.",
        None,
        gt=0,
    )
    scale: Scale | None = key("How that length is found, where it is not known.", None)

    @model_validator(mode="after")
    def _one_scale(self) -> Facility:
        if self.metres_per_unit is not None and self.scale is not None:
            raise ValueError("both metres_per_unit and scale are given. Keep one")
        return self

    @field_validator("name")
    @classmethod
    def _is_no_file_of_the_run(cls, name: str) -> str:
        if name.casefold() in RESULT_FILES:
            raise ValueError("a run writes something else of this name into results/. Choose another")
        return name

    @field_validator("scene")
    @classmethod
    def _spell_in_one_way(cls, scene: str) -> str:
        try:
            return str(Path(scene).expanduser())  # `./a//b` is `a/b`, as the rule that makes a demo scene calls it
        except RuntimeError as error:
            raise ValueError(f"{str(error).rstrip('.')}; give the whole path") from error


class Clip(Section):
    """The keys of a clip that are the same for every camera path."""

    name: Name = name_key()
    path: str
    frames: int | None = key("Frames of this clip (default `render.frames`).", None, ge=1)


class Render(Section):
    """How clips are rendered."""

    backend: Literal["auto", "cpu", "gsplat"] = key(
        "Rasterizer; `auto` takes gsplat when a CUDA device is there and says so in the log.", "auto"
    )
    width: int = key("Frame width in pixels (even).", 640, ge=16, multiple_of=2)
    height: int = key("Frame height in pixels (even).", 480, ge=16, multiple_of=2)
    fps: int = key("Frames per second of the clips.", 24, ge=1, le=120)
    frames: int = key("Frames per clip.", 93, ge=1)
    sh_degree: int = key("Highest spherical-harmonics degree used (the scene's own if lower).", 3, ge=0, le=3)
    background: list[Annotated[float, key("Red, green or blue.", ge=0, le=1)]] | None = key(
        "Background colour: red, green, blue in 0-1, as the screen shows them (default middle grey behind an object "
        "seen from outside, else black).",
        None,
        min_length=3,
        max_length=3,
    )
    antialiased: Literal["auto", True, False] = key(
        "Draw Gaussians as a scene trained with antialiasing (mip) needs it; `auto` when the file says so "
        "(docs/rendering.md).",
        "auto",
    )
    near_m: float = key("Near plane in metres.", 0.05, gt=0)
    far_m: float = key("Far plane in metres.", 100, gt=0)

    @model_validator(mode="after")
    def _near_before_far(self) -> Render:
        if self.near_m >= self.far_m:
            raise ValueError(f"near_m ({self.near_m:g}) is not below far_m ({self.far_m:g}), so nothing would be seen")
        return self


class Variant(Section):
    """The keys of an appearance that are the same for every engine."""

    name: Name = name_key()
    preset: Literal[tuple(PRESETS)] | None = key(
        "Named look (docs/enrichment.md shows them). The photometric engine makes it; generative engines take its "
        "words when the variant has no prompt of its own.",
        None,
    )
    preset_set: Literal[tuple(PRESET_SETS)] | None = key(
        "A set of looks; makes one variant `<name>-<preset>` of each (`all`, or `lighting` without the others).", None
    )
    seed: int | None = key("Seed of this variant (default `enrich.seed`).", None, ge=0)

    @model_validator(mode="after")
    def _one_or_a_set(self) -> Variant:
        if self.preset and self.preset_set:
            raise ValueError(f"both preset ({self.preset}) and preset_set ({self.preset_set}) are given. Keep one")
        return self


class Enrich(Section):
    """The keys of `enrich` that are the same for every engine; `engine` and `variants` are added for each."""

    engine: str
    seed: int = key("Seed of every variant that names none.", 0, ge=0)


class Threshold(Section):
    """Values at which a verdict changes."""

    warn: float | None = key("The verdict is `warn` beyond this value.", None)
    fail: float | None = key("The verdict is `fail` beyond this value.", None)


class Metrics(Section):
    """How variants are scored against the render; what `names` and `thresholds` take is added from the scores."""

    names: list[str]
    thresholds: Section
    torch_home: str = key(
        "Torch cache that holds the weights of `lpips` and `dists` (default, where torch looks; see TORCH_HOME).", ""
    )
    fail_run: bool = key("Let the run fail when a verdict is `fail`.", False)


class Track(Section):
    """Where scores, verdicts and pictures are kept beside those of other runs."""

    uri: str = key("Address of an MLflow server, such as `https://mlflow.example.org`.", min_length=1)
    experiment: str | None = key("Name of the MLflow experiment (default: `report.title`).", None, min_length=1)


class Report(Section):
    """The page a person looks at."""

    title: str = key("Headline of the report.", "Blueprint validation", min_length=1)
    preview_width_px: int = key(
        "Width in pixels of each view in the report; with many clips a smaller one keeps the page light.",
        320,
        ge=32,
        le=1920,
        multiple_of=2,
    )
    track: Track | None = key("Put scores, verdicts and pictures on an MLflow server too; not set: nothing is.", None)


_COMPOSED: dict[tuple[int, ...], tuple[tuple[Any, ...], type[Section]]] = {}
"""Models by the identity of what they are composed of, which is kept beside them: it takes a while to make one."""


def configuration() -> type[Section]:
    """The model of a whole configuration, composed of the engines, camera paths and scores that are registered."""
    parts = (*ENGINES.values(), *PATHS.values(), *METRICS.values(), *TRAINERS.values())
    if (identity := tuple(map(id, parts))) not in _COMPOSED:
        _COMPOSED[identity] = (parts, _compose(ENGINES, PATHS, tuple(METRICS.values())))
    return _COMPOSED[identity][1]


def _compose(
    engines: Mapping[str, Engine], paths: Mapping[str, CameraPath], scores: tuple[Metric, ...]
) -> type[Section]:
    kinds = "; ".join(f"`{path.name}` {path.description}" for path in paths.values())
    about = " ".join(f"`{engine.name}`: {engine.summary}" for engine in engines.values())
    clip = _one_of("path", {name: _clip(path, kinds) for name, path in paths.items()})
    enrich = _one_of("engine", {name: _enrich(engine, about) for name, engine in engines.items()}, DEFAULT_ENGINE)
    facility = create_model(
        "Facility",
        __base__=Facility,
        clips=(
            list[clip] | None,
            key("Clips of this facility instead of the common list; keys as in `clips[]`.", None, min_length=1),
        ),
    )
    return create_model(
        "Configuration",
        __base__=Section,
        __doc__="Which scenes are validated, along which camera paths, with which appearance variants and against "
        "which thresholds.",
        facilities=(list[facility], key("The scanned places to validate.", min_length=1)),
        clips=(
            list[clip],
            key(
                "The camera paths every facility is rendered along (a facility may bring its own list).",
                [{"name": "orbit", "path": "orbit"}],
                min_length=1,
            ),
        ),
        render=(Render, key("How clips are rendered.", {})),
        fidelity=(Fidelity, key("How the scan itself is judged, before anything is made of it.", {})),
        enrich=(enrich, key("How appearance variants are made from the rendered clips.", {})),
        metrics=(_metrics(scores), key("How variants are scored against the render.", {})),
        report=(Report, key("The page a person looks at.", {})),
        output=(
            str | None,
            key(
                "Folder of this configuration below `results/`, `logs/` and `benchmarks/results/`; `.` is these "
                "themselves. Default: the file's name without `.yaml`, and `.` for a file named config.yaml.",
                None,
                pattern=r"^(\.|[A-Za-z0-9][A-Za-z0-9._-]*)$",
                max_length=64,
            ),
        ),
        export=(Export, key("How the clips that passed become training data.", {})),
        train=(
            _one_of("engine", {name: _train(trainer) for name, trainer in TRAINERS.items()}) | None,
            key("Post-training of a world model on the clips (`snakemake training`); left out, there is none.", None),
        ),
        baseline=(
            str,
            key("The folder `results` of another run, for `snakemake compare --config baseline=<folder>`.", ""),
        ),
        __validators__={"names": model_validator(mode="after")(refuse_repeated_names)},
    )


def _one_of(chooser: str, models: Mapping[str, type[Section]], default: str | None = None) -> Any:
    """The type of a section whose other keys depend on the value of one, ``chooser``."""
    tagged = [Annotated[model, Tag(name)] for name, model in models.items()]

    def chosen(value: Any) -> Any:
        return value.get(chooser, default) if isinstance(value, Mapping) else getattr(value, chooser, None)

    return Annotated[Union[tuple(tagged)], Discriminator(chosen)]  # noqa: UP007 - of as many as there are


def _with_common(keys: type[Section], common: type[Section]) -> tuple[type[Section], ...]:
    return (common,) if issubclass(common, keys) else (keys, common)


def _clip(path: CameraPath, kinds: str) -> type[Section]:
    meaning = f"Kind of camera path: {kinds}. What is not given besides is chosen from the scene's free space."
    return create_model(
        f"Clip_{path.name}",
        __base__=_with_common(path.keys, Clip),
        __doc__="One camera path.",
        path=(Literal[path.name], key(meaning)),
    )


def _enrich(engine: Engine, about: str) -> type[Section]:
    default = {"default": engine.name} if engine.name == DEFAULT_ENGINE else {}
    variant = create_model(
        f"Variant_{engine.name}", __base__=_with_common(engine.variant_keys, Variant), __doc__="One appearance."
    )
    return create_model(
        f"Enrich_{engine.name}",
        __base__=_with_common(engine.keys, Enrich),
        __doc__="How appearance variants are made from the rendered clips.",
        engine=(Literal[engine.name], key(f"The engine that makes the variants. {about}", **default)),
        variants=(
            list[variant],
            key(
                "The appearance variants made of every clip.",
                [{"name": "warm_evening", "preset": "warm_evening"}],
                min_length=1,
            ),
        ),
    )


def _train(trainer: Trainer) -> type[Section]:
    kinds = " ".join(f"`{known.name}`: {known.summary}." for known in TRAINERS.values())
    return create_model(
        f"Train_{trainer.name}",
        __base__=_with_common(trainer.keys, Train),
        __doc__="How a world model is post-trained.",
        engine=(Literal[trainer.name], key(f"The world model. {kinds}")),
    )


def _metrics(scores: tuple[Metric, ...]) -> type[Section]:
    names = tuple(score.name for score in scores)
    weights = ", ".join(f"`{score.name}`" for score in scores if score.weights)
    smallest = ", ".join(f"`{score.name}` {score.smallest_px}" for score in scores if score.smallest_px > 16)
    changes = "Values at which its verdict changes."
    thresholds = create_model(
        "Thresholds",
        __base__=Section,
        **{
            score.name: (Threshold, key(changes, score.thresholds))
            if score.thresholds
            else (Threshold | None, key(changes, None))
            for score in scores
        },
        __validators__={f"order_of_{score.name}": field_validator(score.name)(_in_order(score)) for score in scores},
    )
    return create_model(
        "Metrics",
        __base__=Metrics,
        names=(
            list[Literal[names]],
            key(
                "The scores to compute; docs/metrics.md explains each. These need weights (`snakemake "
                f"fetch_metric_weights`): {weights}. Least frame width and height in pixels: {smallest}.",
                [score.name for score in scores if score.computed_by_default],
                min_length=1,
                json_schema_extra={"uniqueItems": True},
            ),
        ),
        thresholds=(
            thresholds,
            key(
                "Per score, the clip means below which (above which, where less is better) a variant warns or fails. "
                "Only geometry and stability have defaults: an enriched clip is meant to look different. `{}` switches "
                "one off.",
                {},
            ),
        ),
        __validators__={"once": field_validator("names")(each_once)},
    )


def _in_order(score: Metric) -> Any:
    def check(threshold: Threshold | None) -> Threshold | None:
        if threshold is None or threshold.warn is None or threshold.fail is None:
            return threshold
        if score.sign * (threshold.warn - threshold.fail) < 0:
            raise ValueError(
                f"warn ({threshold.warn:g}) lies beyond fail ({threshold.fail:g}), so it would never be seen: "
                f"{score.better} is better for this score. Exchange them"
            )
        return threshold

    return check
