"""What a distribution's /etc/fstab wants mounted when it starts (wsl.conf, automount.mountFsTab).

Its own mount(8) does it, as WSL lets it; drives go through mount.drvfs to the agent.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from guest import initclient
from guest.agent.beneath import read_beneath
from guest.agent.disks import mount_point
from guest.agent.distributions import Distribution
from guest.agent.errors import AgentError
from guest.agent.loop import Loop
from guest.agent.spawning import spawn_error, spawn_request
from guest.agent.users import ROOT
from wire.agent import Spawn

FSTAB = "/etc/fstab"
TIMEOUT_S = 15.0
"""How long a distribution's start waits: a server that does not answer must not keep it up."""


def has_entries(text: str) -> bool:
    """Whether a fstab(5) names anything. Pure."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.split("\n"))


def mount_fstab(loop: Loop, distribution: Distribution, done: Callable[[list[str]], None]) -> None:
    """Run `mount -a` in a distribution; `done` gets warnings, once it has ended or takes long."""
    is_over = False

    def finish(*warnings: str) -> None:
        nonlocal is_over
        if not is_over:
            is_over = True
            done(list(warnings))

    def on_exit(status: int) -> None:
        if status:
            finish(f"processing {FSTAB} with `mount -a` failed; run it to see why")
        else:
            finish()

    def on_spawned(answer: initclient.SpawnReply) -> None:
        if answer.error:
            finish(f"{FSTAB} was not processed: {spawn_error(answer, request).message}")
        else:
            distribution.expect_exit(answer.pid, on_exit)

    spawn = Spawn(session=0, distribution=distribution.identity, argv=("mount", "-a"))
    request = spawn_request(spawn, ROOT, distribution.name, distribution.files.language)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    try:
        distribution.request(request, (null, null, null), on_spawned)
    except (AgentError, OSError) as error:
        finish(f"{FSTAB} was not processed: {error}")
    finally:
        os.close(null)
    slow = f"`mount -a` is still busy with {FSTAB} after {TIMEOUT_S:.0f} s; it goes on"
    loop.call_later(TIMEOUT_S, lambda: finish(slow))


def wants_fstab(distribution: Distribution) -> bool:
    """Whether there is anything to do for mount_fstab()."""
    if not distribution.files.conf.mount_fstab:
        return False
    return has_entries(read_beneath(mount_point(distribution.disk), FSTAB))
