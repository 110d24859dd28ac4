# Report: verdicts against thresholds, and the page that a person looks at.


def summary_spec(wildcards):
    """All that the summary of a facility depends on, besides its scores."""
    return as_json(
        {
            "facility": wildcards.facility,
            "clips": list(CLIPS[wildcards.facility]),
            "variants": list(VARIANTS),
            "names": config["metrics"]["names"],
            "thresholds": config["metrics"]["thresholds"],
        }
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
        table="results/{facility}/summary.csv",
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
        "python {SCRIPTS}/summary.py --results results --spec {params.spec:q} --table {output.table:q}"
        " --verdicts {output.verdicts:q} > {log:q} 2>&1"


rule report:
    input:
        verdicts=expand("results/{facility}/summary.json", facility=FACILITIES),
        markers=expand("results/{facility}/preflight.json", facility=FACILITIES),
        renders=for_all_clips("results/{facility}/clips/{clip}/rgb.mp4"),
        depths=for_all_clips("results/{facility}/clips/{clip}/depth.mp4"),
        variants=for_all_clips("results/{facility}/enriched/{clip}/{variant}.mp4"),
        provenance=for_all_clips("results/{facility}/enriched/{clip}/{variant}.json"),
        scores=for_all_clips("results/{facility}/metrics/{clip}/{variant}.json"),
    output:
        page="results/report.html",
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
            }
        ),
        code=code_of("report"),
    message:
        "Writing {output.page}"
    shell:
        "python {SCRIPTS}/report.py --results results --spec {params.spec:q} --output {output.page:q} > {log:q} 2>&1"
