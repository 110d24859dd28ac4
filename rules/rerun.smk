# Rerun: facilities as recordings for the Rerun viewer. `snakemake rerun` makes all of them.


rule recording:
    input:
        scene=scene_of,
        clips=lambda wildcards: of_clips(
            [f"<results>/{{facility}}/clips/{{clip}}/{name}" for name in ("rgb.mp4", "depth.npz", "cameras.json")],
            wildcards.facility,
        ),
        variants=lambda wildcards: of_clips("<results>/{facility}/enriched/{clip}/{variant}.mp4", wildcards.facility),
        scores=lambda wildcards: of_clips("<results>/{facility}/metrics/{clip}/{variant}.json", wildcards.facility),
        environment="<results>/preflight/recording.json",
    output:
        recording="<results>/{facility}/rerun.rrd",
    log:
        "<logs>/{facility}/rerun.log",
    benchmark:
        "<benchmarks>/{facility}/rerun.tsv"
    conda:
        "../envs/recording.yaml"
    params:
        spec=lambda wildcards: as_json(PLAN.recording_spec(wildcards.facility)),
        code=program_digest("recording"),
        folder=lambda wildcards, output: Path(output.recording).parent,
    message:
        "Recording {wildcards.facility}"
    shell:
        "python $BLUEPRINT_SCRIPTS/recording.py --scene {input.scene:q} --results {params.folder:q} --spec {params.spec:q}"
        " --output {output.recording:q} > {log:q} 2>&1"


rule rerun:
    input:
        expand("<results>/{facility}/rerun.rrd", facility=FACILITIES),
