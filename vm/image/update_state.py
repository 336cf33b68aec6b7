"""Which image is booted, which is on trial, which has failed. Pure: states and transitions.

A `Generation` names what an image is made from. At most one is *good* (it has booted), at most
one is the *candidate* (it has not yet), and a candidate that fails is *rejected*: never tried
again. While there is a candidate it is what gets booted; confirming it makes it good and keeps the
one before as *previous*, for roll-back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

REJECTED_KEPT = 32
"""How many failures are remembered; the oldest are forgotten first."""


@dataclass(frozen=True)
class Generation:
    """What an image is made from, besides this project's own files."""

    resolution: str
    """Id of a `vm.image.resolution.Resolution`."""
    tuned: str = ""
    """Cache entry of the tuned kernel; empty for Debian's own."""


@dataclass(frozen=True)
class UpdateState:
    """Everything that is remembered between runs."""

    good: Generation | None = None
    candidate: Generation | None = None
    previous: Generation | None = None
    rejected: tuple[Generation, ...] = ()

    @property
    def selected(self) -> Generation | None:
        """What to boot now."""
        return self.candidate or self.good


def propose(state: UpdateState, generation: Generation) -> UpdateState:
    """Put `generation` on trial.

    Nothing changes when it has been rejected before, or is the one in use already. The very
    first one is on trial like any other; there is just nothing to go back to.
    """
    if generation in state.rejected:
        return state
    if generation == state.good:
        return replace(state, candidate=None)
    return replace(state, candidate=generation)


def confirm(state: UpdateState, booted: Generation) -> UpdateState:
    """`booted` has started and its agent has answered."""
    if booted == state.good:
        return state
    if booted != state.candidate:
        return state  # an older one still running says nothing about the one on trial
    return replace(state, good=booted, candidate=None, previous=state.good)


def reject(state: UpdateState, failed: Generation) -> UpdateState:
    """`failed` did not start: go back, and remember not to try it again.

    A candidate falls to the good one, or, where nothing has booted yet, from the tuned kernel to
    Debian's. The good one itself falls to its predecessor if it has one:
    a machine that cannot start is worse than an old kernel. With no way back nothing changes, as
    a later try may succeed.
    """
    rejected = (*(g for g in state.rejected if g != failed), failed)[-REJECTED_KEPT:]
    if failed == state.candidate:
        if state.good is None:
            if not failed.tuned:
                return state
            return replace(state, candidate=Generation(failed.resolution), rejected=rejected)
        return replace(state, candidate=None, rejected=rejected)
    if failed == state.good and state.previous is not None and state.candidate is None:
        return UpdateState(good=state.previous, rejected=rejected)
    return state
