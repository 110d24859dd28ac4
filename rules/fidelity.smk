# Fidelity: what the scan itself is worth, and where a camera may stand in it, before anything is made of it.


WORTH_IT = "<results>/{facility}/fidelity/passed.txt"


rule fidelity:
    input:
        scene=scene_of,
        cameras=lambda wildcards: of_clips("<results>/{facility}/clips/{clip}/cameras.json", wildcards.facility),
        photos=lambda wildcards: stated(PLAN.photo_files, wildcards.facility, not SHARES_FOLDER),
        environment="<results>/preflight/render.json",
    output:
        verdict="<results>/{facility}/fidelity.json",
        map="<results>/{facility}/fidelity/map.png",
        worst="<results>/{facility}/fidelity/worst.png",
        look="<results>/{facility}/fidelity/look.png",
    log:
        "<logs>/{facility}/fidelity.log",
    benchmark:
        "<benchmarks>/{facility}/fidelity.tsv"
    conda:
        "../envs/render.yaml"
    threads: 2
    resources:
        backend=config["render"]["backend"],  # a fact of the machine; both backends make the same image
    params:
        spec=lambda wildcards, input: as_json(fidelity_spec(wildcards.facility, input.photos)),
        code=program_digest("fidelity"),
        folder=lambda wildcards, output: Path(output.map).parent,
    message:
        "Judging the scan of {wildcards.facility}"
    shell:
        "python $BLUEPRINT_SCRIPTS/fidelity.py --scene {input.scene:q} --cameras {input.cameras:q} --spec {params.spec:q}"
        " --code {params.code} --backend {resources.backend} --threads {threads} --environment {input.environment:q}"
        " --folder {params.folder:q} --output {output.verdict:q} > {log:q} 2>&1"


# Asked for by `enrich` alone, and only where fidelity.fail_run is set.
rule worth_it:
    input:
        verdict="<results>/{facility}/fidelity.json",
    output:
        verdict=WORTH_IT,
    log:
        "<logs>/{facility}/worth_it.log",
    conda:
        "../envs/render.yaml"
    params:
        code=program_digest("passed"),
    message:
        "Checking that the scan of {wildcards.facility} is worth enriching"
    shell:
        "python $BLUEPRINT_SCRIPTS/passed.py {input.verdict:q} --setting fidelity.fail_run"
        " --shown-by {input.verdict:q} --output {output.verdict:q} > {log:q} 2>&1"
