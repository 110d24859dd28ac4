# Track: scores, verdicts and pictures of each facility on an MLflow server, where report.track names one.


TRACKED = "<results>/tracked.json"


rule track:
    input:
        page="<results>/report.html",
        verdicts=expand("<results>/{facility}/summary.json", facility=FACILITIES),
        previews=of_clips("<results>/{facility}/previews/{clip}.json", *FACILITIES),
        tables=expand("<results>/{facility}/summary.csv", facility=FACILITIES),
        scans=expand("<results>/{facility}/fidelity.json", facility=FACILITIES),
        pictures=expand("<results>/{facility}/fidelity/{picture}.png", facility=FACILITIES, picture=SCAN_PICTURES),
        environment="<results>/preflight/tracking.json",
    output:
        record=TRACKED,
    log:
        "<logs>/track.log",
    conda:
        "../envs/tracking.yaml"
    params:
        spec=lambda wildcards: as_json(stated(PLAN.tracking_spec)),
        code=program_digest("track"),
        results=lambda wildcards, output: Path(output.record).parent,
    message:
        "Tracking the run"
    shell:
        "python $BLUEPRINT_SCRIPTS/track.py --results {params.results:q} --spec {params.spec:q} --output {output.record:q}"
        " > {log:q} 2>&1"
