# Report: verdicts against thresholds, and the page that a person looks at.
from blueprint.fidelity.keys import SCAN_PICTURES


report: "../workflow/report/workflow.rst"


PASSED = "<results>/passed.txt"
TIMES = "<benchmarks>/{facility}"
STAGES_OF_CLIPS = ("cameras", "render", "enrich", "metrics", "diversity", "previews")


rule summary:
    input:
        scores=lambda wildcards: of_clips("<results>/{facility}/metrics/{clip}/{variant}.json", wildcards.facility),
        diversity=lambda wildcards: of_clips("<results>/{facility}/diversity/{clip}.json", wildcards.facility),
        made=lambda wildcards: of_clips("<results>/{facility}/enriched/{clip}/{variant}.json", wildcards.facility),
        rendered=lambda wildcards: of_clips("<results>/{facility}/clips/{clip}/provenance.json", wildcards.facility),
        marker="<results>/{facility}/preflight.json",
    output:
        table=report(
            "<results>/{facility}/summary.csv",
            caption="../workflow/report/summary.rst",
            category="Scores",
            labels={"facility": "{facility}"},
        ),
        typed="<results>/{facility}/summary.parquet",
        verdicts="<results>/{facility}/summary.json",
    log:
        "<logs>/{facility}/summary.log",
    benchmark:
        "<benchmarks>/{facility}/summary.tsv"
    conda:
        "../envs/metrics.yaml"
    params:
        spec=lambda wildcards: as_json(PLAN.summary_spec(wildcards.facility, ENVS)),
        code=program_digest("summary"),
        results=lambda wildcards, output: Path(output.table).parents[1],
    message:
        "Summing up {wildcards.facility}"
    shell:
        "python $BLUEPRINT_SCRIPTS/summary.py --results {params.results:q} --spec {params.spec:q} --table {output.table:q}"
        " --parquet {output.typed:q} --verdicts {output.verdicts:q} > {log:q} 2>&1"


rule preview:
    input:
        rgb="<results>/{facility}/clips/{clip}/rgb.mp4",
        depth="<results>/{facility}/clips/{clip}/depth.mp4",
        variants=expand("<results>/{{facility}}/enriched/{{clip}}/{variant}.mp4", variant=VARIANTS),
        scores=expand("<results>/{{facility}}/metrics/{{clip}}/{variant}.json", variant=VARIANTS),
    output:
        video=report(
            "<results>/{facility}/previews/{clip}.mp4",
            caption="../workflow/report/preview.rst",
            category="Clips",
            labels={"facility": "{facility}", "clip": "{clip}"},
        ),
        data="<results>/{facility}/previews/{clip}.json",
    log:
        "<logs>/{facility}/previews/{clip}.log",
    benchmark:
        "<benchmarks>/{facility}/previews/{clip}.tsv"
    conda:
        "../envs/metrics.yaml"
    params:
        width_px=config["report"]["preview_width_px"],
        code=program_digest("preview"),
    message:
        "Picturing {wildcards.facility}/{wildcards.clip}"
    shell:
        "python $BLUEPRINT_SCRIPTS/preview.py --render {input.rgb:q} --depth {input.depth:q} --variants {input.variants:q}"
        " --scores {input.scores:q} --width-px {params.width_px} --video {output.video:q} --data {output.data:q}"
        " > {log:q} 2>&1"


rule report:
    input:
        verdicts=expand("<results>/{facility}/summary.json", facility=FACILITIES),
        scores=of_clips("<results>/{facility}/metrics/{clip}/{variant}.json", *FACILITIES),
        videos=of_clips("<results>/{facility}/previews/{clip}.mp4", *FACILITIES),
        previews=of_clips("<results>/{facility}/previews/{clip}.json", *FACILITIES),
        scans=expand("<results>/{facility}/fidelity.json", facility=FACILITIES),
        pictures=expand("<results>/{facility}/fidelity/{picture}.png", facility=FACILITIES, picture=SCAN_PICTURES),
        markers=expand("<results>/{facility}/preflight.json", facility=FACILITIES),
        benchmarks=brought(
            [
                *expand(f"{TIMES}/{{stage}}.tsv", facility=FACILITIES, stage=["preflight", "fidelity", "summary"]),
                *of_clips([f"{TIMES}/{stage}/{{clip}}.tsv" for stage in STAGES_OF_CLIPS], *FACILITIES),
            ]
        ),
    output:
        page=report("<results>/report.html", caption="../workflow/report/page.rst", category="Report"),
    log:
        "<logs>/report.log",
    conda:
        "../envs/metrics.yaml"
    params:
        spec=as_json(PLAN.report_spec()),
        code=program_digest("report"),
        results=lambda wildcards, output: Path(output.page).parent,
        benchmarks=lambda wildcards, output: as_seen_by_job(BENCHMARKS, output.page, f"{RESULTS}/report.html"),
    message:
        "Writing {output.page}"
    shell:
        "python $BLUEPRINT_SCRIPTS/report.py --results {params.results:q} --benchmarks {params.benchmarks:q} --spec {params.spec:q}"
        " --output {output.page:q} > {log:q} 2>&1"


# Runs after the report, so that a failed run leaves the evidence of why it failed.
rule passed:
    input:
        page="<results>/report.html",
        verdicts=expand("<results>/{facility}/summary.json", facility=FACILITIES),
    output:
        verdict=PASSED,
    log:
        "<logs>/passed.log",
    conda:
        "../envs/metrics.yaml"
    params:
        code=program_digest("passed"),
    message:
        "Checking that no facility fails"
    shell:
        "python $BLUEPRINT_SCRIPTS/passed.py {input.verdicts:q} --shown-by {input.page:q} --output {output.verdict:q} > {log:q} 2>&1"


rule compare:
    input:
        verdicts=expand("<results>/{facility}/summary.json", facility=FACILITIES),
        baseline=lambda wildcards: stated(PLAN.baseline_summaries),
    output:
        page="<results>/compare.html",
        table="<results>/compare.csv",
    log:
        "<logs>/compare.log",
    conda:
        "../envs/metrics.yaml"
    params:
        spec=as_json(PLAN.comparison_spec()),
        code=program_digest("compare"),
    message:
        "Comparing with {config[baseline]}"
    shell:
        "python $BLUEPRINT_SCRIPTS/compare.py --current {input.verdicts:q} --baseline {input.baseline:q} --spec {params.spec:q}"
        " --page {output.page:q} --table {output.table:q} > {log:q} 2>&1"
