# Train: does a world model get better at the facility for having seen its clips? `snakemake training` answers.
PARAMETERS = "<results>/training/{set}/parameters.pt"


rule train:
    input:
        verdicts=expand("<results>/{facility}/summary.json", facility=FACILITIES),
        scenes=expand("<results>/{facility}/preflight.json", facility=FACILITIES),
        clips=of_clips(
            ["<results>/{facility}/clips/{clip}/rgb.mp4", "<results>/{facility}/clips/{clip}/cameras.json"],
            *FACILITIES,
        ),
        variants=of_clips("<results>/{facility}/enriched/{clip}/{variant}.mp4", *FACILITIES),
        provenance=of_clips("<results>/{facility}/enriched/{clip}/{variant}.json", *FACILITIES),
        environment=f"<results>/preflight/{TRAINER.environment}.json",
    output:
        parameters=PARAMETERS,
        training="<results>/training/{set}/training.json",
    log:
        "<logs>/training/train-{set}.log",
    benchmark:
        "<benchmarks>/training/train-{set}.tsv"
    wildcard_constraints:
        set=one_of(TRAINING_SETS),
    conda:
        f"../envs/{TRAINER.environment}.yaml"
    threads: 2
    resources:
        mem_mb=memory_mb(TRAINER),
        gpu=training("gpus"),
        machine=training("machine"),
    params:
        results=lambda wildcards, output: Path(output.parameters).parents[2],
        spec=training("spec"),
        module=TRAINER.module,
        code=program_digest("train", loads=TRAINER.module, register="blueprint.train.trainers"),
    message:
        "Post-training a world model on the set {wildcards.set}"
    shell:
        "python $BLUEPRINT_SCRIPTS/train.py train --results {params.results:q} --spec {params.spec:q} --module {params.module}"
        " --set {wildcards.set} --environment {input.environment:q} --parameters {output.parameters:q}"
        " --scratch .snakemake/train/{wildcards.set} --threads {threads} --gpus {resources.gpu}"
        " --machine {resources.machine:q} --output {output.training:q} > {log:q} 2>&1"


rule evaluate:
    input:
        lambda wildcards: expand(PARAMETERS, set={wildcards.model} - {"base"}),
        verdicts=rules.train.input.verdicts,
        scenes=brought(rules.train.input.scenes),
        clips=rules.train.input.clips,
        variants=rules.train.input.variants,
        provenance=brought(rules.train.input.provenance),
        environment=rules.train.input.environment,
    output:
        scores="<results>/training/{model}/scores.json",
        predictions="<results>/training/{model}/predictions.mp4",
    log:
        "<logs>/training/evaluate-{model}.log",
    benchmark:
        "<benchmarks>/training/evaluate-{model}.tsv"
    wildcard_constraints:
        model=one_of(("base", *TRAINING_SETS)),
    conda:
        f"../envs/{TRAINER.environment}.yaml"
    threads: 2
    resources:
        mem_mb=memory_mb(TRAINER),
        gpu=1 if TRAINER.vram_gb else 0,
        machine=training("machine"),
    params:
        results=lambda wildcards, output: Path(output.scores).parents[2],
        spec=training("spec"),
        module=TRAINER.module,
        parameters=lambda wildcards, input: f"--parameters {input[0]}" if wildcards.model in TRAINING_SETS else "",
        code=program_digest("train", loads=TRAINER.module, register="blueprint.train.trainers"),
    message:
        "Predicting held-out trajectories with the model {wildcards.model}"
    shell:
        "python $BLUEPRINT_SCRIPTS/train.py score --results {params.results:q} --spec {params.spec:q} --module {params.module}"
        " {params.parameters} --scratch .snakemake/score/{wildcards.model} --threads {threads} --gpus {resources.gpu}"
        " --machine {resources.machine:q} --shown {output.predictions:q} --output {output.scores:q} > {log:q} 2>&1"


rule training:
    input:
        scores=expand("<results>/training/{model}/scores.json", model=("base", *TRAINING_SETS)),
        predictions=expand("<results>/training/{model}/predictions.mp4", model=("base", *TRAINING_SETS)),
        trainings=expand("<results>/training/{set}/training.json", set=list(TRAINING_SETS)),
    output:
        verdict="<results>/training/verdict.json",
        page=report("<results>/training/training.html", caption="../workflow/report/page.rst", category="Report"),
        video="<results>/training/predictions.mp4",
    log:
        "<logs>/training/verdict.log",
    conda:
        "../envs/metrics.yaml"
    params:
        results=lambda wildcards, output: Path(output.verdict).parents[1],
        spec=training("spec"),
        code=program_digest("judge_training"),
    message:
        "Comparing the world model before and after"
    shell:
        "python $BLUEPRINT_SCRIPTS/judge_training.py --spec {params.spec:q} --folder {params.results:q}/training"
        " --output {output.verdict:q} --page {output.page:q} --video {output.video:q}"
        " > {log:q} 2>&1"
