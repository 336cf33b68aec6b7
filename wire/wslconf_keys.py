"""The keys of /etc/wsl.conf and /etc/wsl-distribution.conf (behaviour §2, §9). Plain data.

docs/configuration.md is made from these tables and service/settings_keys.py.
"""

from __future__ import annotations

from wire.wslconf import Key, State

WSL_CONF = (
    Key(
        "automount.enabled",
        "boolean",
        True,
        "Mount the host's drives.",
    ),
    Key(
        "automount.root",
        "path",
        "/mnt",
        "The directory that drives are mounted in.",
    ),
    Key(
        "automount.options",
        "text",
        "",
        "Mount options for drives: uid=, gid=, umask=, fmask=, dmask=, metadata, case=.",
    ),
    Key(
        "automount.mountFsTab",
        "boolean",
        True,
        "Mount what /etc/fstab names when the distribution starts.",
    ),
    Key(
        "automount.ldconfig",
        "boolean",
        True,
        "Add the libraries of WSL's graphics drivers to the loader's cache.",
        state=State.NO_EFFECT,
        always=False,
    ),
    Key(
        "automount.cgroups",
        "choice",
        "v2",
        "Version of the control groups the distribution sees.",
        state=State.NO_EFFECT,
        always="v2",
        choices=("v1", "v2"),
    ),
    Key(
        "filesystem.umask",
        "integer",
        0o022,
        "File mode creation mask of new processes.",
        shown="0022",
    ),
    Key(
        "interop.enabled",
        "boolean",
        True,
        "Let Linux start programs of the host.",
    ),
    Key(
        "interop.appendWindowsPath",
        "boolean",
        True,
        "Append the host's PATH to that of Linux.",
    ),
    Key("network.generateHosts", "boolean", True, "Write /etc/hosts when the distribution starts."),
    Key(
        "network.generateResolvConf",
        "boolean",
        True,
        "Make /etc/resolv.conf a link to a generated one when the distribution starts.",
    ),
    Key(
        "network.hostname",
        "text",
        "",
        "The distribution's host name; characters a host name cannot have are dropped.",
        shown="the host's name",
    ),
    Key(
        "time.useWindowsTimezone",
        "boolean",
        True,
        "Use the host's time zone.",
    ),
    Key(
        "fileServer.enabled",
        "boolean",
        True,
        "Let the host reach the distribution's files.",
        state=State.NOT_YET,
        always=False,
    ),
    Key("fileServer.logFile", "path", "", "Log file of WSL's file server.", state=State.NO_EFFECT),
    Key(
        "fileServer.logLevel",
        "integer",
        0,
        "How much WSL's file server logs.",
        state=State.NO_EFFECT,
        shown="none",
    ),
    Key(
        "fileServer.logTruncate",
        "boolean",
        True,
        "Whether WSL's file server empties its log when it starts.",
        state=State.NO_EFFECT,
    ),
    Key(
        "gpu.enabled",
        "boolean",
        True,
        "Give the distribution the host's graphics processor.",
        state=State.NOT_YET,
        always=False,
    ),
    Key(
        "gpu.appendLibPath",
        "boolean",
        True,
        "Add the directory of WSL's graphics libraries to PATH.",
        state=State.NO_EFFECT,
        always=False,
    ),
    Key(
        "user.default",
        "text",
        "",
        "Name of the user that sessions run as.",
        shown="the one chosen at installation",
    ),
    Key(
        "boot.command",
        "text",
        "",
        "Command that root's shell runs when the distribution starts; failures go to the log.",
        shown="none",
    ),
    Key(
        "boot.systemd",
        "boolean",
        False,
        "Run systemd as the distribution's init.",
        state=State.NOT_YET,
        always=False,
    ),
    Key(
        "boot.initTimeout",
        "integer",
        10000,
        "How long to wait for systemd, in milliseconds.",
        state=State.NOT_YET,
    ),
    Key(
        "boot.protectBinfmt",
        "boolean",
        True,
        "Keep what registers programs of other systems from removing that of Windows programs.",
    ),
    Key(
        "general.guiApplications",
        "boolean",
        True,
        "Show windows of Linux programs on the host.",
        state=State.NOT_YET,
        always=False,
    ),
)
"""/etc/wsl.conf, read when the distribution starts."""

DISTRIBUTION_CONF = (
    Key(
        "oobe.command",
        "text",
        "",
        "What root's shell runs before the first interactive shell of an installed distribution.",
        shown="none",
    ),
    Key(
        "oobe.defaultUid",
        "integer",
        0,
        "Number of the user that sessions run as once that command has succeeded.",
    ),
    Key(
        "oobe.defaultName",
        "text",
        "",
        "Name to register the distribution by if none is given.",
        shown="none",
    ),
    Key(
        "shortcut.enabled",
        "boolean",
        True,
        "Put the distribution into the start menu.",
        state=State.NOT_YET,
        always=False,
    ),
    Key("shortcut.icon", "path", "", "Icon of that entry.", state=State.NOT_YET),
    Key(
        "windowsterminal.enabled",
        "boolean",
        True,
        "Give the distribution a profile in Windows Terminal.",
        state=State.NOT_YET,
        always=False,
    ),
    Key(
        "windowsterminal.profileTemplate",
        "path",
        "",
        "Template of that profile.",
        state=State.NOT_YET,
    ),
)
"""/etc/wsl-distribution.conf, which the makers of a distribution write. Its warnings are theirs
to read, so none are shown to users."""
