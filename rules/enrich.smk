# Enrich: every appearance variant of a clip in one job, so that a model is loaded once.


def enrich_spec(wildcards):
    """All that the variants of a clip depend on, besides the rendered clip."""
    return as_json({**config["enrich"], "facility": facility_of(wildcards)["description"]})


rule enrich:
    input:
        rgb="results/{facility}/clips/{clip}/rgb.mp4",
        depth="results/{facility}/clips/{clip}/depth.mp4",
        depth_m="results/{facility}/clips/{clip}/depth.npz",
        cameras="results/{facility}/clips/{clip}/cameras.json",
    output:
        clips=expand("results/{{facility}}/enriched/{{clip}}/{variant}.mp4", variant=VARIANTS),
        provenance=expand("results/{{facility}}/enriched/{{clip}}/{variant}.json", variant=VARIANTS),
    params:
        spec=enrich_spec,
        code=code_of("enrich"),
        folder=lambda wildcards: f"results/{wildcards.facility}/enriched/{wildcards.clip}",
    log:
        "logs/{facility}/enrich/{clip}.log",
    benchmark:
        "benchmarks/results/{facility}/enrich/{clip}.tsv"
    threads: 2
    conda:
        f"../envs/{ENGINE_ENVIRONMENT[config['enrich']['engine']]}.yaml"
    message:
        "Enriching {wildcards.facility}/{wildcards.clip}"
    shell:
        "python {SCRIPTS}/enrich.py --rgb {input.rgb:q} --depth {input.depth:q} --depth-m {input.depth_m:q}"
        " --cameras {input.cameras:q} --spec {params.spec:q} --folder {params.folder:q} > {log:q} 2>&1"
