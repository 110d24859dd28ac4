# Metrics: a variant against the render it was made from, frame by frame.


rule metrics:
    input:
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
    params:
        spec=as_json({"names": config["metrics"]["names"]}),
        code=code_of("metrics"),
    message:
        "Scoring {wildcards.facility}/{wildcards.clip}/{wildcards.variant}"
    shell:
        "python {SCRIPTS}/metrics.py --render {input.rgb:q} --variant {input.variant:q} --depth-m {input.depth_m:q}"
        " --cameras {input.cameras:q} --spec {params.spec:q} --threads {threads} --output {output.scores:q}"
        " > {log:q} 2>&1"
