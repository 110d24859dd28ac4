# Enrich: every appearance variant of a clip in one job, so that a model is loaded once.


from dataclasses import asdict

from blueprint.enrich.requirements import repositories_needed

ENGINE = config["enrich"]["engine"]
# Sources that decide the pixels; a change in one engine's makes no other engine's variants again.
ENGINE_SOURCES = {
    "photometric": ("photometric.py", "presets.py", "../depth.py", "../cameras/file.py"),
    "cosmos-transfer2.5": ("cosmos_transfer.py", "model_sizes.py"),
    "diffusers": ("cosmos_diffusers.py", "controls.py", "model_sizes.py"),
}
try:
    ENRICH_SPECS = {
        (facility["name"], clip): variants.clip_spec(config["enrich"], facility, clip)
        for facility in config["facilities"]
        for clip in CLIPS[facility["name"]]
    }
except UserError as error:
    raise WorkflowError(f"{CONFIG_SOURCE}: {error}")


rule enrich:
    input:
        rgb="results/{facility}/clips/{clip}/rgb.mp4",
        depth="results/{facility}/clips/{clip}/depth.mp4",
        depth_m="results/{facility}/clips/{clip}/depth.npz",
        cameras="results/{facility}/clips/{clip}/cameras.json",
        controls=lambda wildcards: variants.control_files(enrich_spec(wildcards)),
        environment=f"results/preflight/{ENGINE_ENVIRONMENT[ENGINE]}.json",
    output:
        clips=expand("results/{{facility}}/enriched/{{clip}}/{variant}.mp4", variant=VARIANTS),
        provenance=expand("results/{{facility}}/enriched/{{clip}}/{variant}.json", variant=VARIANTS),
    log:
        "logs/{facility}/enrich/{clip}.log",
    benchmark:
        "benchmarks/results/{facility}/enrich/{clip}.tsv"
    conda:
        f"../envs/{ENGINE_ENVIRONMENT[ENGINE]}.yaml"
    threads: 2
    resources:
        gpu=0 if ENGINE == "photometric" else config["enrich"]["gpus"],
        # Facts of this machine: they decide no pixel, so they are resources and not parameters.
        offload=config["enrich"]["offload"],
        cosmos_root=config["enrich"].get("cosmos_root", ""),
    params:
        spec=lambda wildcards: as_json(enrich_spec(wildcards)),
        code=code_digest(
            SCRIPTS / "enrich.py",
            *(SCRIPTS / "blueprint" / name for name in ("files.py", "video.py")),
            *(SCRIPTS / "blueprint" / "enrich" / name for name in ("__init__.py", *ENGINE_SOURCES[ENGINE])),
        ),
        folder=lambda wildcards: f"results/{wildcards.facility}/enriched/{wildcards.clip}",
    message:
        "Enriching {wildcards.facility}/{wildcards.clip}"
    shell:
        "python $BLUEPRINT_SCRIPTS/enrich.py --rgb {input.rgb:q} --depth {input.depth:q} --depth-m {input.depth_m:q}"
        " --cameras {input.cameras:q} --spec {params.spec:q} --code {params.code} --folder {params.folder:q}"
        " --scratch .snakemake/enrich/{wildcards.facility}/{wildcards.clip}"
        " --gpus {resources.gpu} --offload {resources.offload} --cosmos-root={resources.cosmos_root:q}"
        " --cache resources/embeddings > {log:q} 2>&1"


# Before a GPU is paid for: `snakemake fetch_weights`.
rule fetch_weights:
    output:
        fetched="resources/weights.json",
    log:
        "logs/fetch_weights.log",
    conda:
        f"../envs/{ENGINE_ENVIRONMENT[ENGINE]}.yaml"
    params:
        repositories=as_json([asdict(repository) for repository in repositories_needed(config)]),
    message:
        "Fetching the weights of the engine {ENGINE}"
    shell:
        "python $BLUEPRINT_SCRIPTS/fetch_weights.py --repositories {params.repositories:q} --output {output.fetched:q}"
        " > {log:q} 2>&1"
