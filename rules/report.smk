# Report: verdicts against thresholds, and the page that a person looks at.
from blueprint.files import file_digest, value_digest


report: "../workflow/report/workflow.rst"


# Locks of the environments that the jobs of this configuration run in; the first is that of a run without conda.
ENVIRONMENT_LOCKS = ("laptop.constraints.txt", "render.yaml", f"{ENGINE_ENVIRONMENT[ENGINE]}.yaml", "metrics.yaml")


PASSED = "results/passed.txt"
# Templates decide the pages as much as programs do.
REPORT_CODE = code_digest(
    SCRIPTS / "report.py",
    SCRIPTS / "compare.py",
    SCRIPTS / "blueprint" / "report",
    *sorted((SCRIPTS / "blueprint" / "report" / "templates").iterdir()),
    SCRIPTS / "blueprint" / "metrics" / "catalogue.py",
    SCRIPTS / "blueprint" / "metrics" / "provenance.py",
)


rule summary:
    input:
        scores=lambda wildcards: expand(
            "results/{facility}/metrics/{clip}/{variant}.json",
            facility=wildcards.facility,
            clip=CLIPS[wildcards.facility],
            variant=VARIANTS,
        ),
        diversity=lambda wildcards: expand(
            "results/{facility}/diversity/{clip}.json", facility=wildcards.facility, clip=CLIPS[wildcards.facility]
        ),
        provenance=lambda wildcards: expand(
            "results/{facility}/enriched/{clip}/{variant}.json",
            facility=wildcards.facility,
            clip=CLIPS[wildcards.facility],
            variant=VARIANTS,
        ),
        marker="results/{facility}/preflight.json",
    output:
        table=report(
            "results/{facility}/summary.csv",
            caption="../workflow/report/summary.rst",
            category="Scores",
            labels={"facility": "{facility}"},
        ),
        verdicts="results/{facility}/summary.json",
    log:
        "logs/{facility}/summary.log",
    conda:
        "../envs/metrics.yaml"
    params:
        spec=summary_spec,
        code=code_of("summary", "metrics"),
    message:
        "Summing up {wildcards.facility}"
    shell:
        "python $BLUEPRINT_SCRIPTS/summary.py --results results --spec {params.spec:q} --table {output.table:q}"
        " --verdicts {output.verdicts:q} > {log:q} 2>&1"


rule preview:
    input:
        rgb="results/{facility}/clips/{clip}/rgb.mp4",
        depth="results/{facility}/clips/{clip}/depth.mp4",
        variants=expand("results/{{facility}}/enriched/{{clip}}/{variant}.mp4", variant=VARIANTS),
        scores=expand("results/{{facility}}/metrics/{{clip}}/{variant}.json", variant=VARIANTS),
    output:
        video=report(
            "results/{facility}/previews/{clip}.mp4",
            caption="../workflow/report/preview.rst",
            category="Clips",
            labels={"facility": "{facility}", "clip": "{clip}"},
        ),
        data="results/{facility}/previews/{clip}.json",
    log:
        "logs/{facility}/previews/{clip}.log",
    benchmark:
        "benchmarks/results/{facility}/previews/{clip}.tsv"
    conda:
        "../envs/metrics.yaml"
    params:
        width_px=config["report"]["preview_width_px"],
        code=code_digest(
            SCRIPTS / "preview.py",
            *(SCRIPTS / "blueprint" / name for name in ("files.py", "video.py", "report/preview.py")),
            *(SCRIPTS / "blueprint" / "metrics" / name for name in ("geometry.py", "verdicts.py")),
        ),
    message:
        "Picturing {wildcards.facility}/{wildcards.clip}"
    shell:
        "python $BLUEPRINT_SCRIPTS/preview.py --render {input.rgb:q} --depth {input.depth:q} --variants {input.variants:q}"
        " --scores {input.scores:q} --width-px {params.width_px} --video {output.video:q} --data {output.data:q}"
        " > {log:q} 2>&1"


rule report:
    input:
        verdicts=expand("results/{facility}/summary.json", facility=FACILITIES),
        scores=for_all_clips("results/{facility}/metrics/{clip}/{variant}.json"),
        videos=for_all_clips("results/{facility}/previews/{clip}.mp4"),
        previews=for_all_clips("results/{facility}/previews/{clip}.json"),
    output:
        page=report("results/report.html", caption="../workflow/report/page.rst", category="Report"),
    log:
        "logs/report.log",
    conda:
        "../envs/metrics.yaml"
    params:
        spec=as_json(
            {
                "title": config["report"]["title"],
                "facilities": {facility: list(CLIPS[facility]) for facility in FACILITIES},
                "variants": list(VARIANTS),
                "names": config["metrics"]["names"],
            }
        ),
        code=REPORT_CODE,
    message:
        "Writing {output.page}"
    shell:
        "python $BLUEPRINT_SCRIPTS/report.py --results results --benchmarks benchmarks/results --spec {params.spec:q}"
        " --output {output.page:q} > {log:q} 2>&1"


# Runs after the report, so that a failed run leaves the evidence of why it failed.
rule passed:
    input:
        page="results/report.html",
        verdicts=expand("results/{facility}/summary.json", facility=FACILITIES),
    output:
        verdict=PASSED,
    log:
        "logs/passed.log",
    conda:
        "../envs/metrics.yaml"
    message:
        "Checking that no facility fails"
    shell:
        "python $BLUEPRINT_SCRIPTS/passed.py {input.verdicts:q} --output {output.verdict:q} > {log:q} 2>&1"


rule compare:
    input:
        verdicts=expand("results/{facility}/summary.json", facility=FACILITIES),
        baseline=baseline_summaries,
    output:
        page="results/compare.html",
        table="results/compare.csv",
    log:
        "logs/compare.log",
    conda:
        "../envs/metrics.yaml"
    params:
        spec=as_json({"title": config["report"]["title"], "baseline": config["baseline"]}),
        code=REPORT_CODE,
    message:
        "Comparing with {config[baseline]}"
    shell:
        "python $BLUEPRINT_SCRIPTS/compare.py --current {input.verdicts:q} --baseline {input.baseline:q} --spec {params.spec:q}"
        " --page {output.page:q} --table {output.table:q} > {log:q} 2>&1"
