# Blueprint Validation: from a 3D Gaussian splat of a facility to evidence of what the scan is worth.
from snakemake.utils import min_version

min_version("9.27")


include: "rules/common.smk"
include: "rules/cloud.smk"  # may bring scenes and results from the bucket, which the rest looks at
include: "rules/plan.smk"
include: "rules/demo.smk"
include: "rules/preflight.smk"
include: "rules/render.smk"
include: "rules/fidelity.smk"
include: "rules/enrich.smk"
include: "rules/metrics.smk"
include: "rules/report.smk"
include: "rules/track.smk"
include: "rules/rerun.smk"
include: "rules/export.smk"
include: "rules/train.smk"
include: "rules/audit.smk"


rule all:
    default_target: True
    input:
        "<results>/report.html",
        PASSED if config["metrics"]["fail_run"] else [],
        TRACKED if "track" in config["report"] else [],
        # Every product and not the report alone: Snakemake makes a deleted file again only if it is asked for.
        of_clips("<results>/{facility}/clips/{clip}/rgb.mp4", *FACILITIES),
        of_clips("<results>/{facility}/clips/{clip}/depth.mp4", *FACILITIES),
        of_clips("<results>/{facility}/clips/{clip}/depth.npz", *FACILITIES),
        expand("<results>/{facility}/fidelity.json", facility=FACILITIES),
        of_clips("<results>/{facility}/enriched/{clip}/{variant}.mp4", *FACILITIES),
        of_clips("<results>/{facility}/enriched/{clip}/{variant}.json", *FACILITIES),
        of_clips("<results>/{facility}/metrics/{clip}/{variant}.json", *FACILITIES),
        expand("<results>/{facility}/summary.{kind}", facility=FACILITIES, kind=["csv", "parquet"]),
