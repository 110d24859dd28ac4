# Enrich: every appearance variant of a clip in one job, so that a model is loaded once.


from dataclasses import asdict


rule enrich:
    input:
        rgb="<results>/{facility}/clips/{clip}/rgb.mp4",
        depth="<results>/{facility}/clips/{clip}/depth.mp4",
        depth_m="<results>/{facility}/clips/{clip}/depth.npz",
        cameras="<results>/{facility}/clips/{clip}/cameras.json",
        controls=lambda wildcards: PLAN.enrich_specs[wildcards.facility, wildcards.clip]["files"],
        worth_it=WORTH_IT if config["fidelity"]["fail_run"] else [],
        environment=f"<results>/preflight/{PLAN.engine.environment}.json",
    output:
        clips=expand("<results>/{{facility}}/enriched/{{clip}}/{variant}.mp4", variant=VARIANTS),
        provenance=expand("<results>/{{facility}}/enriched/{{clip}}/{variant}.json", variant=VARIANTS),
    log:
        "<logs>/{facility}/enrich/{clip}.log",
    benchmark:
        "<benchmarks>/{facility}/enrich/{clip}.tsv"
    conda:
        f"../envs/{PLAN.engine.environment}.yaml"
    threads: 2
    resources:
        runtime=minutes("enrich.py"),
        mem_mb=memory_mb(PLAN.engine),
        gpu=PLAN.engine.gpus(config["enrich"]),
        # Facts of this machine: they decide no pixel, so they are resources and not parameters.
        machine=as_json(PLAN.engine.machine(config["enrich"])),
    params:
        spec=lambda wildcards: as_json(PLAN.enrich_specs[wildcards.facility, wildcards.clip]),
        code=program_digest("enrich", loads=PLAN.engine.module, register="blueprint.engines"),
        pixels=program_digest("", loads=PLAN.engine.module, register="blueprint.engines"),  # a variant is kept by it
        folder=lambda wildcards, output: Path(output.clips[0]).parent,
    message:
        "Enriching {wildcards.facility}/{wildcards.clip}"
    shell:
        "python $BLUEPRINT_SCRIPTS/enrich.py --rgb {input.rgb:q} --depth {input.depth:q} --depth-m {input.depth_m:q}"
        " --cameras {input.cameras:q} --spec {params.spec:q} --code {params.pixels} --folder {params.folder:q}"
        " --environment {input.environment:q}"
        " --scratch .snakemake/enrich/{wildcards.facility}/{wildcards.clip}"
        " --gpus {resources.gpu} --machine {resources.machine:q}"
        " --cache resources/embeddings > {log:q} 2>&1"


# Before a GPU is paid for: `snakemake fetch_weights`.
rule fetch_weights:
    output:
        fetched="resources/weights.json",
    log:
        "<logs>/fetch_weights.log",
    conda:
        f"../envs/{(TRAINER if TRAINER.repositories else PLAN.engine).environment}.yaml"
    params:
        repositories=as_json([asdict(repository) for repository in repositories_needed(config)]),
    message:
        "Fetching the weights of the models"
    shell:
        "python $BLUEPRINT_SCRIPTS/fetch_weights.py --repositories {params.repositories:q} --output {output.fetched:q}"
        " > {log:q} 2>&1"
