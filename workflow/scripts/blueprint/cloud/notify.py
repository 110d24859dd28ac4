"""Tell people what happens to a run, by whatever they use (Slack, e-mail, a webhook, ...): the addresses are apprise's.

See https://github.com/caronc/apprise for the addresses. They hold secrets, so they are in NOTIFY_URLS and in no file of
the repository. Nothing that goes wrong here may disturb a run.
"""

from __future__ import annotations

import logging

from blueprint.cloud.settings import CloudSettings

log = logging.getLogger(__name__)


def tell(settings: CloudSettings, event: str, text: str) -> bool:
    """Send a line about an event (``start``, ``failure``, ``budget``, ``end``, ``reap``); whether all were told."""
    if event not in settings.notify or not settings.notify_urls:
        return False
    try:
        import apprise  # seldom needed, slow to import

        told = apprise.Apprise()
        for address in settings.notify_urls.split():
            if not told.add(address):
                log.warning("NOTIFY_URLS: an address is none of apprise's kinds; see its documentation")
        done = bool(told.notify(title=f"Run {settings.run_id}: {event}", body=text))
    except Exception as error:
        log.warning("Nobody was told of %r (%s)", event, type(error).__name__)
        return False
    if not done:
        log.warning("Not everybody was told of %r", event)
    return done
