"""A search for a state of the life cycle in which a machine runs, nothing works, and nobody will end it.

The model is small and holds who is there and in what condition; how the sentry and the reaper decide is not modelled
but asked of their own code. Every sequence of up to two faults, at any moment, is tried. From each state so reached
the machine must end by itself once no further fault happens, at the latest when the short limits have passed: the
longest life and the reaper's deadline do not count. Where everybody was killed, the reaper must end it.
"""

from collections import deque
from dataclasses import dataclass, replace

import pytest

from blueprint.cloud.launched import Launch
from blueprint.cloud.reaper import judge
from blueprint.cloud.sentry import UNGUARDED, Seen, decide

LAUNCH = Launch("label", "main", "bucket", "blueprint", None, 0.0, 1e9, 2.0, 1e6, 5400.0, 3600.0, 60.0, 60.0)
LONG_S = UNGUARDED * LAUNCH.guard_silent_s + 1
ACTORS = ("shell", "sentry", "snakemake", "guard")


@dataclass(frozen=True)
class State:
    """Each actor is absent, well, hung or dead; a run is planned, works, or is over."""

    shell: str = "well"
    sentry: str = "absent"
    snakemake: str = "absent"
    guard: str = "absent"
    work: str = "none"
    """``none``, ``setup``, ``jobs``, ``hung`` (a job hangs), ``done``."""
    announced: bool = False
    bucket: str = "up"
    ended: bool = False


@dataclass(frozen=True)
class Rules:
    """What the actors are able to do; a seeded bug takes one of it away."""

    sees_no_pulse: bool = True
    limits_jobs: bool = True
    sentry_is_first: bool = True
    limits_copies: bool = True


def acts(state: State, rules: Rules) -> list[State]:
    """What happens next, by each actor that is well; nothing when everybody waits."""
    if state.ended:
        return []
    found = []
    guard_is_seen_well = state.guard == "well" or (state.guard == "hung" and not rules.sees_no_pulse)
    over = state.snakemake == "dead" or state.work == "done"
    if state.shell == "well":
        if state.sentry == "absent" and rules.sentry_is_first:
            return [replace(state, sentry="well")]  # nothing is done before that
        if state.snakemake == "absent":
            found.append(replace(state, snakemake="well", work="setup"))
        if state.snakemake == "hung" and state.guard == "absent":  # onstart.sh looks for the guard's first word
            found.append(replace(state, snakemake="dead"))
        if state.snakemake == "dead" and not guard_is_seen_well:
            found += finish(state, rules)
    if state.snakemake == "well":
        if not state.announced:
            found.append(replace(state, announced=True))
        elif not guard_is_seen_well:
            found.append(replace(state, guard="well"))
        elif state.work == "setup":
            found.append(replace(state, work="jobs"))
        elif state.work == "jobs":
            found.append(replace(state, work="done"))
    if state.guard == "well":
        if over:
            found += finish(state, rules)
        elif state.snakemake == "hung" and rules.sees_no_pulse:
            found.append(replace(state, snakemake="dead"))
        elif state.work == "hung" and rules.limits_jobs:
            found.append(replace(state, work="jobs"))
    if state.sentry == "well" and sentry_finishes(state, rules):
        found += finish(state, rules)
    return found


def finish(state: State, rules: Rules) -> list[State]:
    """The final copy and the end of the machine: it waits for ever where a call has no limit."""
    return [] if state.bucket == "hangs" and not rules.limits_copies else [replace(state, ended=True)]


def sentry_finishes(state: State, rules: Rules) -> bool:
    """What `blueprint.cloud.sentry` decides when a long time has passed in this state."""
    health = {"well": "fresh", "hung": "stale" if rules.sees_no_pulse else "fresh"}.get(state.guard, "none")
    gone_s = 0.0 if state.shell != "dead" else LONG_S
    unguarded_s = 0.0 if health == "fresh" else LONG_S
    shell_is_there = state.shell in ("well", "hung")
    seen = Seen(shell_is_there, state.announced, health, state.ended, LAUNCH.setup_s + 1, gone_s, unguarded_s)
    return decide(seen, LAUNCH) == "finish"


def faults(state: State) -> list[tuple[str, State]]:
    """Everything that can go wrong now."""
    found = []
    for actor in ACTORS:
        if getattr(state, actor) in ("well", "hung"):
            found.append((f"{actor} is killed", replace(state, **{actor: "dead"})))
        if getattr(state, actor) == "well":
            found.append((f"{actor} hangs", replace(state, **{actor: "hung"})))
    if state.work == "jobs":
        found.append(("a job hangs", replace(state, work="hung")))
    if state.bucket == "up":
        found.append(("the bucket hangs", replace(state, bucket="hangs")))
    everybody = {actor: "dead" for actor in ACTORS if getattr(state, actor) != "absent"}
    found.append(("everybody is killed", replace(state, **everybody)))
    return [(name, after) for name, after in found if not state.ended]


def ends(state: State, rules: Rules) -> bool:
    """Whether the machine ends on every path from here without further faults (nobody overtakes for ever)."""
    reached, waiting = {state}, deque([state])
    stuck = False
    while waiting:
        now = waiting.popleft()
        after = acts(now, rules)
        stuck = stuck or (not after and not now.ended)
        for following in after:
            if following not in reached:
                reached.add(following)
                waiting.append(following)
    return not stuck and any(one.ended for one in reached)


def search(rules: Rules, most: int) -> tuple[int, list[tuple[str, ...]]]:
    """Number of states reached with at most so many faults, and the faults after which nobody ends the machine."""
    found, seen = [], {}
    waiting = deque([(State(), ())])
    while waiting:
        state, history = waiting.popleft()
        if seen.get(state, most + 1) <= len(history):
            continue
        seen[state] = len(history)
        if not ends(state, rules):
            found.append((history, state))
        waiting.extend((after, history) for after in acts(state, rules))
        if len(history) < most:
            waiting.extend((after, (*history, name)) for name, after in faults(state))
    return len(seen), found


def anybody_is_well(state: State) -> bool:
    return "well" in (state.sentry, state.guard, state.snakemake) or state.shell == "well"


def test_one_fault_of_any_kind_is_survived_by_the_machine_itself():
    reached, found = search(Rules(), 1)
    assert reached > 50
    assert [(history, state) for history, state in found if anybody_is_well(state)] == []


def test_two_faults_are_survived_unless_nobody_is_left():
    reached, found = search(Rules(), 2)
    assert reached > 200
    left = [(history, state) for history, state in found if anybody_is_well(state)]
    # Before the first line of onstart.sh has started the sentry there is bootstrap.sh alone, whose calls have limits.
    assert [(history, state) for history, state in left if state.sentry != "absent"] == []


@pytest.mark.parametrize("most", [1, 2, 3])
def test_the_reaper_ends_what_nobody_on_the_machine_ends(most):
    _, found = search(Rules(), most)
    for _, state in found:
        # Nobody who is well keeps an account up to date there, or the machine would end.
        silent_s = 1801.0
        assert judge("running", LAUNCH.deadline_s, 0.0, silent_s, 1800.0, 1e6).action == "stop", state
    assert judge("running", 100.0, 150.0, 151.0, 1800.0, 1e6).action == "stop"  # and at the deadline in any case


@pytest.mark.parametrize(
    "rules, fault",
    [
        (Rules(sees_no_pulse=False), "guard hangs"),
        (Rules(sees_no_pulse=False), "snakemake hangs"),
        (Rules(limits_jobs=False), "a job hangs"),
        (Rules(limits_copies=False), "the bucket hangs"),
        (Rules(sentry_is_first=False), "shell hangs"),
    ],
)
def test_a_seeded_bug_is_found(rules, fault):
    _, found = search(rules, 1)
    assert (fault,) in [history for history, state in found if anybody_is_well(state) or fault == "shell hangs"]
