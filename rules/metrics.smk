# Metrics: a variant against the render it was made from, frame by frame; and the variants against one another.
from blueprint.metrics import catalogue


# One job per clip scores all its variants, so that torch is loaded once; a score that nothing has touched is kept.
rule metrics:
    input:
        weights_at_hand,
        rgb="<results>/{facility}/clips/{clip}/rgb.mp4",
        depth_m="<results>/{facility}/clips/{clip}/depth.npz",
        cameras="<results>/{facility}/clips/{clip}/cameras.json",
        variants=expand("<results>/{{facility}}/enriched/{{clip}}/{variant}.mp4", variant=VARIANTS),
        records=expand("<results>/{{facility}}/enriched/{{clip}}/{variant}.json", variant=VARIANTS),  # hold SHA-256
        environment="<results>/preflight/metrics.json",
    output:
        scores=expand("<results>/{{facility}}/metrics/{{clip}}/{variant}.json", variant=VARIANTS),
    log:
        "<logs>/{facility}/metrics/{clip}.log",
    benchmark:
        "<benchmarks>/{facility}/metrics/{clip}.tsv"
    conda:
        "../envs/metrics.yaml"
    threads: 2
    resources:
        runtime=minutes("metrics.py"),
        torch_home=config["metrics"]["torch_home"],  # where this machine keeps weights decides no score
    params:
        scores=as_json(list(catalogue.code_digests(config["metrics"]["names"]).items())),  # in this order
        code=program_digest("metrics"),
        folder=lambda wildcards, output: Path(output.scores[0]).parent,
    message:
        "Scoring the variants of {wildcards.facility}/{wildcards.clip}"
    shell:
        "python $BLUEPRINT_SCRIPTS/metrics.py {input.variants:q} --render {input.rgb:q} --depth-m {input.depth_m:q}"
        " --cameras {input.cameras:q} --scores {params.scores:q} --torch-home={resources.torch_home:q}"
        " --threads {threads} --environment {input.environment:q} --folder {params.folder:q} > {log:q} 2>&1"


rule diversity:
    input:
        variants=expand("<results>/{{facility}}/enriched/{{clip}}/{variant}.mp4", variant=VARIANTS),
    output:
        scores="<results>/{facility}/diversity/{clip}.json",
    log:
        "<logs>/{facility}/diversity/{clip}.log",
    benchmark:
        "<benchmarks>/{facility}/diversity/{clip}.tsv"
    conda:
        "../envs/metrics.yaml"
    params:
        code=program_digest("diversity"),
    message:
        "Comparing the variants of {wildcards.facility}/{wildcards.clip}"
    shell:
        "python $BLUEPRINT_SCRIPTS/diversity.py {input.variants:q} --output {output.scores:q} > {log:q} 2>&1"


rule fetch_metric_weights:
    log:
        "<logs>/fetch_metric_weights.log",
    conda:
        "../envs/metrics.yaml"
    resources:
        torch_home=config["metrics"]["torch_home"],
    message:
        "Fetching the weights of LPIPS and DISTS"
    shell:
        "python $BLUEPRINT_SCRIPTS/metric_weights.py lpips dists --torch-home={resources.torch_home:q} > {log:q} 2>&1"
