"""The report: one self-contained page made from the results of a run."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from blueprint import files
from blueprint.metrics.verdicts import ORDER
from blueprint.report.figures import cost, stage_times
from blueprint.report.scan import scans

DATA_FILES = ("templates",)  # the page's digest counts them
TEMPLATES = Path(__file__).parent / DATA_FILES[0]
MOST_TO_LOOK_AT = 8


def write_report(target: Path, results: Path, benchmarks: Path, spec: dict[str, Any]) -> None:
    """Write the page; the file appears whole, and only one clip is in memory at a time.

    Args:
        target: the page.
        results: the folder ``results``.
        benchmarks: the folder ``benchmarks/results``.
        spec: ``title``; the clip names of each facility (``facilities``), ``variants`` and ``names`` of scores, all in
            the order they are shown in.

    Raises:
        UserError: a result cannot be read.
    """
    summaries = [_summary(results, facility, spec) for facility in spec["facilities"]]
    clips = [_clip(results, summary, clip) for summary in summaries for clip in summary["clips"]]
    rows = _rows(summaries)
    context = {
        "title": spec["title"],
        "lead": _lead(summaries),
        "scans": scans(results, spec["facilities"]),
        "summaries": summaries,
        "metrics": summaries[0]["metrics"],
        "thresholds": summaries[0]["thresholds"],
        "rows": rows,
        "first": _look_at_first(rows, summaries[0]),
        "clips": clips,
        "stages": (stages := _with_shares(stage_times(benchmarks, spec["facilities"]))),
        "total_s": sum(stage["seconds"] for stage in stages),
        "cost": cost(results),
        "left_out": [
            {**item, "what": f"{summary['facility']}: {item['what']}"}
            for summary in summaries
            for item in summary["not_judged"]
        ],
        "provenance": {summary["facility"]: _provenance(summary) for summary in summaries},
        "commit": ", ".join(sorted({commit for summary in summaries for commit in summary["run"]["commits"]})),
        "shared": _inert(_shared(summaries)),
        "css": embedded("report.css"),
        "js": embedded("common.js", "report.js"),
        "plotly": Markup(get_plotlyjs().replace("</script", "<\\/script")),
        "payloads": _payloads(results, clips, summaries),
    }
    with files.whole_file(target) as part, part.open("w", encoding="utf-8") as stream:
        stream.writelines(environment().get_template("report.html").generate(context))


def _summary(results: Path, facility: str, spec: dict[str, Any]) -> dict[str, Any]:
    """The summary of a facility in the order of the configuration (files hold keys sorted)."""
    summary = files.read_json(results / facility / "summary.json")
    orders = {"metrics": spec["names"], "variants": spec["variants"], "clips": spec["facilities"][facility]}
    for key, order in orders.items():
        summary[key] = {name: summary[key][name] for name in order}
    for clip, variants in summary["clips"].items():
        summary["clips"][clip] = {name: variants[name] for name in spec["variants"]}
        for entry in variants.values():
            entry["scores"] = {name: entry["scores"][name] for name in spec["names"]}
    return summary


def environment() -> Environment:
    """The templates, with everything they show escaped."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["score"] = shown
    made.filters["duration"] = duration
    return made


def embedded(*names: str) -> Markup:
    """Style sheets or scripts as they stand in a page."""
    return Markup("".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names))


def shown(value: float | None, metric: dict[str, Any]) -> str:
    """A score as people read it; a dash where it is undefined."""
    if value is None:
        return "\N{EN DASH}"
    return f"{value:.1f}" if metric["unit"] == "dB" else f"{value:.3f}"


def duration(seconds: float) -> str:
    """Seconds as people read them."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _lead(summaries: list[dict[str, Any]]) -> str:
    clips = sum(len(summary["clips"]) for summary in summaries)
    total = sum(len(summary["clips"]) * len(summary["variants"]) for summary in summaries)
    failed, warned = (sum(summary["counts"][verdict] for summary in summaries) for verdict in ("fail", "warn"))
    places = ", ".join(summary["facility"] for summary in summaries)
    return f"{places}: {clips} clips and {total} enriched variants of them; {failed} fail and {warned} warn."


def _anchor(facility: str, clip: str) -> str:
    return f"clip-{facility}-{clip}"


def _severity(verdict: str | None) -> int:
    return 1 + ORDER.index(verdict) if verdict else 0


def _rows(summaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per clip and variant, the worst first."""
    several = len(summaries) > 1
    rows = [
        {
            "where": f"{summary['facility']}/{clip}" if several else clip,
            "place": f"{summary['facility']}/{clip}",
            "anchor": _anchor(summary["facility"], clip),
            "variant": variant,
            "frame": (entry["cause"] or {}).get("frame"),
            "severity": _severity(entry["verdict"]),
            **entry,
        }
        for summary in summaries
        for clip, variants in summary["clips"].items()
        for variant, entry in variants.items()
    ]
    return sorted(rows, key=lambda row: -row["severity"])


def _look_at_first(rows: list[dict[str, Any]], summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The worst rows in words: what is wrong, by which score, how far off, where to look."""
    short = [row for row in rows if row["verdict"] in ("warn", "fail")]
    return [{**row, "why": _in_words(row, summary)} for row in short[:MOST_TO_LOOK_AT]]


def _in_words(row: dict[str, Any], summary: dict[str, Any]) -> str:
    cause, score = row["cause"], row["scores"][row["cause"]["metric"]]
    metric, limit = summary["metrics"][cause["metric"]], summary["thresholds"][cause["metric"]][row["verdict"]]
    bound = "at least" if metric["better"] == "higher" else "at most"
    frame = "" if row["frame"] is None else f", worst at frame {row['frame']}"
    return f"{row['sentence']}. {metric['title']} {shown(score['mean'], metric)} ({bound} {limit:g} wanted){frame}"


def _clip(results: Path, summary: dict[str, Any], clip: str) -> dict[str, Any]:
    """What the page shows of a clip before it is opened."""
    facility = summary["facility"]
    preview = files.read_json(results / facility / "previews" / f"{clip}.json")
    verdicts = {variant: entry["verdict"] for variant, entry in summary["clips"][clip].items()}
    diversity = summary["diversity"][clip]
    links = {"render": f"{facility}/clips/{clip}/rgb.mp4", "depth": f"{facility}/clips/{clip}/depth.mp4"}
    links |= {variant: f"{facility}/enriched/{clip}/{variant}.mp4" for variant in verdicts}
    data = {"cameras": f"{facility}/clips/{clip}/cameras.json", "depth in metres": f"{facility}/clips/{clip}/depth.npz"}
    data |= {f"scores of {variant}": f"{facility}/metrics/{clip}/{variant}.json" for variant in verdicts}
    return {
        "facility": facility,
        "name": clip,
        "anchor": _anchor(facility, clip),
        "verdict": max(verdicts.values(), key=_severity),
        "verdicts": verdicts,
        "sentences": {variant: entry["sentence"] for variant, entry in summary["clips"][clip].items()},
        "place": f"{facility}/{clip}",
        "data": data,
        "diversity": diversity if diversity["closest"] else None,
        "links": links,
        **{key: preview[key] for key in ("poster", "tile", "frames")},
    }


def _payloads(
    results: Path, clips: list[dict[str, Any]], summaries: list[dict[str, Any]]
) -> Iterator[dict[str, str | Markup]]:
    """What the page holds of each clip until it is opened: data and video, both inert."""
    names = list(summaries[0]["metrics"])
    of_facility = {summary["facility"]: summary["clips"] for summary in summaries}
    for clip in clips:
        folder = results / clip["facility"]
        preview = files.read_json(folder / "previews" / f"{clip['name']}.json")
        scores = {}
        for variant in clip["verdicts"]:
            frames = files.read_json(folder / "metrics" / clip["name"] / f"{variant}.json")["frames"]
            scores[variant] = {name: [value and float(f"{value:.4g}") for value in frames[name]] for name in names}
        video = (folder / "previews" / f"{clip['name']}.mp4").read_bytes()
        del preview["poster"]
        judged = of_facility[clip["facility"]][clip["name"]]
        preview["worst"] = _worth_a_picture(preview["worst"], judged)
        shown_first = max(judged, key=lambda variant: _severity(judged[variant]["verdict"]))
        start = {"variant": shown_first, "frame": (judged[shown_first]["cause"] or {}).get("frame") or 0}
        data = _inert({**preview, "scores": scores, "start": start})
        yield {"data": data, "video": Markup(base64.b64encode(video).decode())}


def _worth_a_picture(worst: list[dict[str, Any]], judged: dict[str, Any]) -> list[dict[str, Any]]:
    """The worst frames in the scores that fall short, and one frame of each variant that has none such.

    Thresholds are of clips: a frame carries the verdict of the clip's score, and none of its own.
    """
    for entry in worst:
        scores = judged[entry["variant"]]["scores"]
        verdicts = {name: scores[name]["verdict"] for name in entry["scores"]}
        entry |= {"verdicts": verdicts, "severity": max(map(_severity, verdicts.values()))}
    short = [entry for entry in worst if entry["severity"] > _severity("pass")]
    chosen = {entry["variant"]: entry for entry in reversed(worst)}
    rest = [entry for variant, entry in chosen.items() if all(other["variant"] != variant for other in short)]
    return sorted(short, key=lambda entry: -entry["severity"]) + rest[::-1]


def _shared(summaries: list[dict[str, Any]]) -> dict[str, Any]:
    """What the plots over all clips need."""
    means: dict[str, dict[str, list[Any]]] = {name: {} for name in summaries[0]["metrics"]}
    for summary in summaries:
        for clip, variants in summary["clips"].items():
            for variant, entry in variants.items():
                for name, score in entry["scores"].items():
                    means[name].setdefault(variant, []).append([score["mean"], f"{summary['facility']}/{clip}"])
    return {"metrics": summaries[0]["metrics"], "thresholds": summaries[0]["thresholds"], "means": means}


def _inert(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    return Markup(json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"))


def _with_shares(stages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    total = sum(stage["seconds"] for stage in stages) or 1.0
    return [{**stage, "share": stage["seconds"] / total} for stage in stages]


def _provenance(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """Where a facility's results come from, as labels and values."""
    origin, run = summary["provenance"], summary["run"]
    made = [entry for entries in origin["variants"].values() for entry in entries]
    models = {_words(entry["model"]) for entry in made if "model" in entry}
    found, scene = origin["preflight"]["found"], origin["preflight"]["scene"]
    lines = [
        ("Scene", f"{found['gaussians']:,} Gaussians, {found['format']}, SHA-256 {scene['sha256']}"),
        ("Engine", ", ".join(origin["engines"])),
        ("Model", "; ".join(sorted(models))),
        ("Rasterizer", ", ".join(run["rasterizers"])),
        ("GPU", ", ".join(run["gpus"]) or "none"),
        ("Workflow commit", ", ".join(run["commits"])),
        ("Configuration", f"SHA-256 {origin['configuration_digest']}"),
    ]
    lines += [(name, f"SHA-256 {digest}") for name, digest in origin["environment_digests"].items()]
    return lines


def _words(model: dict[str, Any]) -> str:
    """What identifies a model: its name, repository, revision; not the settings of a look."""
    return " ".join(str(model[key]) for key in ("name", "repository", "revision", "commit") if key in model)
