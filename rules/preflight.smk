# Preflight: is the scan something that can be rendered at all, does every stage have the modules it needs, and is this
# machine fit for the run?
from blueprint.engines import ENVIRONMENTS
from blueprint.environments import needs


rule preflight_scene:
    input:
        scene=scene_of,
        files=lambda wildcards: stated(PLAN.scene_files, wildcards.facility),
        environment="<results>/preflight/render.json",
    output:
        marker="<results>/{facility}/preflight.json",
    log:
        "<logs>/{facility}/preflight.log",
    benchmark:
        "<benchmarks>/{facility}/preflight.tsv"
    priority: 100
    conda:
        "../envs/render.yaml"
    params:
        spec=lambda wildcards: as_json(PLAN.scene_spec(wildcards.facility)),
        code=program_digest("preflight"),
    message:
        "Checking the scene of {wildcards.facility}"
    shell:
        "python $BLUEPRINT_SCRIPTS/preflight.py --scene {input.scene:q} --spec {params.spec:q} --output {output.marker:q}"
        " > {log:q} 2>&1"


# What a stage needs must import before anything is computed. The marker says nothing of the machine: it is made once.
rule environment:
    output:
        marker="<results>/preflight/{environment}.json",
    log:
        "<logs>/preflight/{environment}.log",
    wildcard_constraints:
        environment=one_of(ENVIRONMENTS),
    priority: 100
    conda:
        "../envs/{environment}.yaml"
    resources:
        root=lambda wildcards: PLAN.upstream(wildcards.environment),  # a fact of this machine
    params:
        spec=lambda wildcards: as_json(
            needs.check_spec(wildcards.environment, ENVIRONMENTS[wildcards.environment], ENVS)
        ),
    message:
        "Checking the environment {wildcards.environment}"
    shell:
        "python $BLUEPRINT_SCRIPTS/environments.py check --spec {params.spec:q} --root={resources.root:q} --output {output.marker:q}"
        " > {log:q} 2>&1"


# `snakemake preflight`: the markers, and the table of host checks, which has no output and is therefore always made.
rule preflight:
    input:
        scenes=expand("<results>/{facility}/preflight.json", facility=FACILITIES),
        environments=expand(
            "<results>/preflight/{environment}.json",
            environment=sorted({*PLAN.environments, TRAINER.environment}),
        ),
    log:
        "<logs>/preflight/host.log",
    conda:
        "../envs/orchestration.yaml"
    params:
        spec=lambda wildcards: as_json(config),
        results=lambda wildcards, input: Path(input.scenes[0]).parents[1],
        settings=f"--settings {CLOUD}" if CLOUD else "",
    message:
        "Checking this machine"
    shell:
        "python $BLUEPRINT_SCRIPTS/host_checks.py {params.settings} --config {params.spec:q} --results {params.results:q} 2>&1 | tee {log:q}"
