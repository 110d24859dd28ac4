# The demo scene: a procedural room written as a real 3DGS PLY.


rule demo_scene:
    output:
        scene="resources/demo/{scene}.ply",
    log:
        "<logs>/demo/{scene}.log",
    benchmark:
        "<benchmarks>/demo/{scene}.tsv"
    wildcard_constraints:
        scene=one_of(configuration.DEMO_SCENES),
    conda:
        "../envs/render.yaml"
    params:
        code=program_digest("demo"),
    message:
        "Building the demo scene {wildcards.scene}"
    shell:
        "python $BLUEPRINT_SCRIPTS/demo.py --scene {wildcards.scene} --output {output.scene:q} > {log:q} 2>&1"
