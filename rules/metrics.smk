# Metrics: a variant against the render it was made from, frame by frame; and the variants against one another.
from blueprint.metrics import catalogue, weights

# Sources that decide a score; a change to how scores are summed up measures nothing again.
METRICS_CODE = code_digest(
    SCRIPTS / "metrics.py",
    *(SCRIPTS / "blueprint" / name for name in ("files.py", "video.py", "depth.py", "cameras")),
    *(SCRIPTS / "blueprint" / "metrics" / f"{name}.py" for name in ("score", "appearance", "geometry", "stability")),
)
try:
    catalogue.check_names(
        config["metrics"]["names"],
        {f"{facility}/{clip}": spec for facility in FACILITIES for clip, spec in CLIPS[facility].items()},
        CONFIG_SOURCE,
    )
except UserError as error:
    raise WorkflowError(str(error))


rule metrics:
    input:
        weights_at_hand,
        rgb="results/{facility}/clips/{clip}/rgb.mp4",
        depth_m="results/{facility}/clips/{clip}/depth.npz",
        cameras="results/{facility}/clips/{clip}/cameras.json",
        variant="results/{facility}/enriched/{clip}/{variant}.mp4",
        environment="results/preflight/metrics.json",
    output:
        scores="results/{facility}/metrics/{clip}/{variant}.json",
    log:
        "logs/{facility}/metrics/{clip}/{variant}.log",
    benchmark:
        "benchmarks/results/{facility}/metrics/{clip}/{variant}.tsv"
    conda:
        "../envs/metrics.yaml"
    threads: 2
    resources:
        torch_home=config["metrics"]["torch_home"],  # where this machine keeps weights decides no score
    params:
        spec=as_json({"names": config["metrics"]["names"]}),
        code=METRICS_CODE,
    message:
        "Scoring {wildcards.facility}/{wildcards.clip}/{wildcards.variant}"
    shell:
        "python $BLUEPRINT_SCRIPTS/metrics.py --render {input.rgb:q} --variant {input.variant:q} --depth-m {input.depth_m:q}"
        " --cameras {input.cameras:q} --spec {params.spec:q} --torch-home={resources.torch_home:q}"
        " --threads {threads} --output {output.scores:q} > {log:q} 2>&1"


rule diversity:
    input:
        variants=expand("results/{{facility}}/enriched/{{clip}}/{variant}.mp4", variant=VARIANTS),
    output:
        scores="results/{facility}/diversity/{clip}.json",
    log:
        "logs/{facility}/diversity/{clip}.log",
    benchmark:
        "benchmarks/results/{facility}/diversity/{clip}.tsv"
    conda:
        "../envs/metrics.yaml"
    params:
        code=code_digest(
            SCRIPTS / "diversity.py",
            *(SCRIPTS / "blueprint" / name for name in ("files.py", "video.py", "metrics/diversity.py")),
        ),
    message:
        "Comparing the variants of {wildcards.facility}/{wildcards.clip}"
    shell:
        "python $BLUEPRINT_SCRIPTS/diversity.py {input.variants:q} --output {output.scores:q} > {log:q} 2>&1"


rule fetch_metric_weights:
    log:
        "logs/fetch_metric_weights.log",
    conda:
        "../envs/metrics.yaml"
    message:
        "Fetching the weights of LPIPS and DISTS"
    shell:
        "python $BLUEPRINT_SCRIPTS/metric_weights.py lpips dists --torch-home={resources.torch_home:q} > {log:q} 2>&1"
