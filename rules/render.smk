# Render: camera paths placed in the scene, then colour, depth and alpha along them.


# Placed before anything is rendered, so that a path that cannot be placed costs nothing.
rule cameras:
    input:
        scene=scene_of,
        marker="<results>/{facility}/preflight.json",
        files=lambda wildcards: PLAN.camera_files(wildcards.facility, wildcards.clip),
    output:
        cameras="<results>/{facility}/clips/{clip}/cameras.json",
    log:
        "<logs>/{facility}/cameras/{clip}.log",
    benchmark:
        "<benchmarks>/{facility}/cameras/{clip}.tsv"
    priority: 100
    conda:
        "../envs/render.yaml"
    params:
        spec=lambda wildcards: as_json(PLAN.camera_spec(wildcards.facility, wildcards.clip)),
        code=program_digest("cameras"),
    message:
        "Placing the cameras of {wildcards.facility}/{wildcards.clip}"
    shell:
        "python $BLUEPRINT_SCRIPTS/cameras.py --scene {input.scene:q} --spec {params.spec:q} --output {output.cameras:q}"
        " > {log:q} 2>&1"


rule render:
    input:
        scene=scene_of,
        cameras="<results>/{facility}/clips/{clip}/cameras.json",
        environment="<results>/preflight/render.json",
    output:
        rgb="<results>/{facility}/clips/{clip}/rgb.mp4",
        depth="<results>/{facility}/clips/{clip}/depth.mp4",
        depth_m="<results>/{facility}/clips/{clip}/depth.npz",
        provenance="<results>/{facility}/clips/{clip}/provenance.json",
    log:
        "<logs>/{facility}/render/{clip}.log",
    benchmark:
        "<benchmarks>/{facility}/render/{clip}.tsv"
    conda:
        "../envs/render.yaml"
    threads: 2
    resources:
        runtime=minutes("render.py"),
        backend=config["render"]["backend"],  # a fact of the machine; both backends make the same image
    params:
        spec=as_json(PLAN.render_spec()),
        code=program_digest("render"),
    message:
        "Rendering {wildcards.facility}/{wildcards.clip}"
    shell:
        "python $BLUEPRINT_SCRIPTS/render.py --scene {input.scene:q} --cameras {input.cameras:q} --spec {params.spec:q}"
        " --backend {resources.backend} --threads {threads} --environment {input.environment:q}"
        " --rgb {output.rgb:q} --depth {output.depth:q} --depth-m {output.depth_m:q}"
        " --provenance {output.provenance:q} > {log:q} 2>&1"
