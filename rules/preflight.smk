# Preflight: is the scan something that can be rendered at all?


rule preflight:
    input:
        scene=scene_of,
    output:
        marker="results/{facility}/preflight.json",
    params:
        spec=lambda wildcards: as_json(
            {key: facility_of(wildcards)[key] for key in ("name", "up_axis", "floor_height_m")}
        ),
        code=code_of("preflight", "splat"),
    log:
        "logs/{facility}/preflight.log",
    conda:
        "../envs/render.yaml"
    message:
        "Checking the scene of {wildcards.facility}"
    priority: 100
    shell:
        "python {SCRIPTS}/preflight.py --scene {input.scene:q} --spec {params.spec:q} --output {output.marker:q}"
        " > {log:q} 2>&1"
