# Render: camera paths placed in the scene, then colour, depth and alpha along them.


def camera_spec(wildcards):
    """All that the camera path of a clip depends on, besides the scene."""
    facility = facility_of(wildcards)
    clip = CLIPS[wildcards.facility][wildcards.clip]
    return as_json({**clip, "up_axis": facility["up_axis"], "floor_height_m": facility["floor_height_m"]})


def camera_files(wildcards):
    """The files that a clip's camera path is read from, if any."""
    clip = CLIPS[wildcards.facility][wildcards.clip]
    return [clip[key] for key in ("file", "dataparser_transforms") if key in clip]


def render_spec(wildcards):
    """All that the pixels of a clip depend on, besides scene and cameras."""
    return as_json({key: config["render"][key] for key in ("sh_degree", "background", "near_m", "far_m")})


# Placed before anything is rendered, so that a path that cannot be placed costs nothing.
rule cameras:
    input:
        scene=scene_of,
        marker="results/{facility}/preflight.json",
        files=camera_files,
    output:
        cameras="results/{facility}/clips/{clip}/cameras.json",
    params:
        spec=camera_spec,
        code=code_of("cameras", "splat", "ply.py", "axes.py"),
    log:
        "logs/{facility}/cameras/{clip}.log",
    conda:
        "../envs/render.yaml"
    message:
        "Placing the cameras of {wildcards.facility}/{wildcards.clip}"
    priority: 100
    shell:
        "python {SCRIPTS}/cameras.py --scene {input.scene:q} --spec {params.spec:q} --output {output.cameras:q}"
        " > {log:q} 2>&1"


rule render:
    input:
        scene=scene_of,
        cameras="results/{facility}/clips/{clip}/cameras.json",
    output:
        rgb="results/{facility}/clips/{clip}/rgb.mp4",
        depth="results/{facility}/clips/{clip}/depth.mp4",
        depth_m="results/{facility}/clips/{clip}/depth.npz",
    params:
        spec=render_spec,
        code=code_of("render", "splat", "ply.py", "depth.py", "cameras/file.py"),
    log:
        "logs/{facility}/render/{clip}.log",
    benchmark:
        "benchmarks/results/{facility}/render/{clip}.tsv"
    threads: 2
    conda:
        "../envs/render.yaml"
    message:
        "Rendering {wildcards.facility}/{wildcards.clip}"
    shell:
        "python {SCRIPTS}/render.py --scene {input.scene:q} --cameras {input.cameras:q} --spec {params.spec:q}"
        " --backend {config[render][backend]} --threads {threads}"
        " --rgb {output.rgb:q} --depth {output.depth:q} --depth-m {output.depth_m:q} > {log:q} 2>&1"
