# Audit: what would fail on a paid machine, found before one is rented. It has no output, so it runs whenever asked for.


rule audit:
    log:
        "<logs>/audit.log",
    conda:
        "../envs/orchestration.yaml"
    params:
        configfiles=workflow.configfiles,
    message:
        "Auditing"
    shell:
        "python $BLUEPRINT_SCRIPTS/audit.py --configfile {params.configfiles:q} 2>&1 | tee {log:q}"
