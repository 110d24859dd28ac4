# The life of a run on a rented machine. Active when cloud.yaml lies beside the profile, and only when jobs are to run.
from blueprint.cloud import settings as cloud_settings


def cloud_step(step, *arguments):
    """Carry out one step of the life cycle; what goes wrong in it ends Snakemake with its message."""
    try:
        return step(*arguments)
    except UserError as error:
        raise WorkflowError(str(error))


CLOUD = None
if workflow.is_main_process:
    CLOUD = cloud_step(cloud_settings.path_of_profile, sys.argv[1:], os.environ)

if CLOUD is not None:
    from blueprint.cloud.command_line import is_real_run

    if is_real_run(sys.argv[1:]):
        from blueprint.cloud.lifecycle import Lifecycle

        if workflow.workflow_settings.persistence_backend.name != "FILE":
            raise WorkflowError(
                "--persistence-backend: found db: the next machine could not restore it. Leave the option out."
            )
        cloud = Lifecycle(cloud_step(cloud_settings.load, CLOUD.resolve()), Path.cwd())
        # Here and not in onstart, which comes after the jobs are planned and the environments built.
        logger.info(cloud_step(cloud.prepare, config))

        onstart:
            logger.info(cloud_step(cloud.start))

        onsuccess:
            logger.info(cloud_step(cloud.conclude, "success"))

        onerror:
            logger.error(cloud_step(cloud.conclude, "error"))
