# Export: the clips that passed as training data, in the layouts of trainers. `snakemake export` makes all configured ones.
from blueprint.export.layouts import LAYOUTS


rule export_layout:
    input:
        verdicts=expand("<results>/{facility}/summary.json", facility=FACILITIES),
        scenes=expand("<results>/{facility}/preflight.json", facility=FACILITIES),
        clips=of_clips(
            [
                f"<results>/{{facility}}/clips/{{clip}}/{name}"
                for name in ("rgb.mp4", "depth.mp4", "depth.npz", "cameras.json")
            ],
            *FACILITIES,
        ),
        variants=of_clips("<results>/{facility}/enriched/{clip}/{variant}.mp4", *FACILITIES),
        provenance=of_clips("<results>/{facility}/enriched/{clip}/{variant}.json", *FACILITIES),
        environment=lambda wildcards: f"{RESULTS}/preflight/{LAYOUTS[wildcards.layout].environment}.json",
    output:
        dataset=directory("<results>/dataset/{layout}"),
    log:
        "<logs>/export/{layout}.log",
    benchmark:
        "<benchmarks>/export/{layout}.tsv"
    wildcard_constraints:
        layout=one_of(LAYOUTS),
    conda:
        lambda wildcards: f"../envs/{LAYOUTS[wildcards.layout].environment}.yaml"
    params:
        results=lambda wildcards, output: Path(output.dataset).parents[1],
        spec=as_json(PLAN.export_spec()),
        code=program_digest("export"),
    message:
        "Exporting the dataset {wildcards.layout}"
    shell:
        "python $BLUEPRINT_SCRIPTS/export.py --results {params.results:q} --spec {params.spec:q} --layout {wildcards.layout}"
        " --output {output.dataset:q} > {log:q} 2>&1"


rule export:
    input:
        expand("<results>/dataset/{layout}", layout=config["export"]["layouts"]),
