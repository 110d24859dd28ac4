# Blueprint Validation: from a 3D Gaussian splat of a facility to evidence of what the scan is worth.
from snakemake.utils import min_version

min_version("9.27")


# A --configfile replaces the embedded demo; it is not merged into it.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/cloud.smk"  # may bring scenes and results from the bucket, which the rest looks at
include: "rules/demo.smk"
include: "rules/preflight.smk"
include: "rules/render.smk"
include: "rules/enrich.smk"
include: "rules/metrics.smk"
include: "rules/report.smk"
include: "rules/audit.smk"


rule all:
    default_target: True
    input:
        "results/report.html",
        PASSED if config["metrics"]["fail_run"] else [],
        # Every product and not the report alone: Snakemake makes a deleted file again only if it is asked for.
        for_all_clips("results/{facility}/clips/{clip}/rgb.mp4"),
        for_all_clips("results/{facility}/clips/{clip}/depth.mp4"),
        for_all_clips("results/{facility}/clips/{clip}/depth.npz"),
        for_all_clips("results/{facility}/enriched/{clip}/{variant}.mp4"),
        for_all_clips("results/{facility}/enriched/{clip}/{variant}.json"),
        for_all_clips("results/{facility}/metrics/{clip}/{variant}.json"),
        expand("results/{facility}/summary.csv", facility=FACILITIES),
