# The life of a run on a rented machine. Active when cloud.yaml lies beside the profile, and only when jobs are to run.
from blueprint import secret
from blueprint.cloud import settings as cloud_settings

CLOUD = None
if workflow.is_main_process:
    CLOUD = stated(cloud_settings.path_of_profile, sys.argv[1:], os.environ)
    KEYS = stated(cloud_settings.secrets_at_hand)
    JOB_KEYS = ("HF_TOKEN",)

    from blueprint.cloud.command_line import executor_of, is_a_look, is_real_run

    if CLOUD is not None and is_a_look(sys.argv[1:]):
        JOB_KEYS = KEYS  # the table of host checks is made by a job
    if CLOUD is not None and is_real_run(sys.argv[1:]):
        from blueprint.audit.estimate import job_limits_s
        from blueprint.cloud.lifecycle import Lifecycle

        if workflow.workflow_settings.persistence_backend.name != "FILE":
            raise WorkflowError(
                "--persistence-backend: found db: the next machine could not restore it. Leave the option out."
            )
        cloud = Lifecycle(
            stated(cloud_settings.load, CLOUD.resolve()),
            Path.cwd(),
            stated(job_limits_s, config, Path(BENCHMARKS)),
            nothing_to_do=lambda: workflow.scheduler is not None and not len(workflow.dag),
        )
    job_keys = {name: value for name, value in KEYS.items() if name in JOB_KEYS}
    executor = executor_of(sys.argv[1:]) if job_keys else None
    if executor is None or executor.local_exec:
        secret.conceal(job_keys)
    else:
        secret.conceal({})
        os.environ.update(job_keys)  # all that reaches jobs on other machines that are given this environment
        if not executor.pass_envvar_declarations_to_cmd:  # the others, by an executor that writes them into no script

            envvars:
                *job_keys,

    if CLOUD is not None and is_real_run(sys.argv[1:]):
        # Here and not in onstart, which comes after the jobs are planned and the environments built.
        logger.info(stated(cloud.prepare, config))

        onstart:
            logger.info(stated(cloud.start))

        onsuccess:
            logger.info(stated(cloud.conclude, "success"))

        onerror:
            logger.error(stated(cloud.conclude, "error"))
