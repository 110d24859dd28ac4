"""Access to the repositories on Hugging Face that an engine needs, asked for before any GPU work."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from blueprint.checks import Check
from blueprint.engines.base import Repository

HUB = "https://huggingface.co"


def check_access(
    repositories: Sequence[Repository], token: str | None, endpoint: str | None = None, timeout_s: float = 10.0
) -> list[Check]:
    """Ask the hub, with the user's token, for access to each repository; one check per repository.

    Args:
        repositories: what is needed.
        token: the user's token; None asks anonymously. It appears in no message.
        endpoint: address of the hub (default: huggingface_hub's own, which honours ``HF_ENDPOINT``).
        timeout_s: longest wait for one answer.
    """
    from huggingface_hub.utils import get_session  # only in the environments that talk to the hub

    unique = {repository.id: repository for repository in repositories}.values()
    session = get_session()
    usual_timeout, session.timeout = session.timeout, timeout_s  # `auth_check` on its own waits for ever
    try:
        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(lambda repository: _check_one(repository, token, endpoint), unique))
    finally:
        session.timeout = usual_timeout


def _check_one(repository: Repository, token: str | None, endpoint: str | None) -> Check:
    from httpx2 import TimeoutException, TransportError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    page = repository.licence_url
    api = HfApi(endpoint=endpoint, token=token or False)
    try:
        api.auth_check(repository.id)
        problem = None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status == 401:
            problem = (
                "no valid token (401)",
                f"Set HF_TOKEN to a token ({HUB}/settings/tokens) of an account that accepted the licence at {page}.",
            )
        elif isinstance(error, GatedRepoError):
            problem = (
                "gated, and this account has not accepted its licence (403)",
                f"Accept the licence at {page} with the account of this token, then run again.",
            )
        elif status == 404:
            problem = (
                "there is no such repository for this account (404)",
                f"Look at {page}; a private repository needs a token that may read it.",
            )
        else:
            problem = (f"the hub refused ({status})", f"Try again later; see {page}.")
    except TimeoutException:
        problem = (
            f"no answer from {api.endpoint} in time",
            f"Check this machine's network and HF_ENDPOINT, then run again; the licence is at {page}.",
        )
    except TransportError as error:
        problem = (
            f"{api.endpoint} cannot be reached ({error})",
            f"Check this machine's network and HF_ENDPOINT, then run again; the licence is at {page}.",
        )
    name = f"Hugging Face: {repository.id}"
    return Check(name, "ok", "access granted") if problem is None else Check(name, "fail", *problem)
