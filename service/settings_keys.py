"""The keys of .wslconfig (behaviour §2). Plain data.

docs/configuration.md is made from this table and wire/wslconf_keys.py.
"""

from __future__ import annotations

from service.settings_keys_network import NETWORK
from wire.wslconf import Key, State

_MACHINE = (
    Key(
        "wsl2.kernel",
        "path",
        "",
        "Linux kernel (bzImage) to boot instead of Isthmus's; what booting takes is built in.",
        shown="Isthmus's own",
    ),
    Key(
        "wsl2.kernelModules",
        "path",
        "",
        "Disk image with modules of the kernel that is booted; see below.",
        shown="none",
    ),
    Key(
        "wsl2.kernelCommandLine",
        "text",
        "",
        "Arguments added to the kernel's command line.",
        shown="none",
    ),
    Key(
        "wsl2.memory",
        "memory",
        None,
        "Memory of the virtual machine, 256 MB at least and the host's at most.",
        shown="half of the host's, 4GB at most",
        wsl_default="half of the host's",
    ),
    Key(
        "wsl2.processors",
        "integer",
        None,
        "Number of virtual processors, the host's at most.",
        shown="the host's",
    ),
    Key(
        "wsl2.swap",
        "memory",
        None,
        "Size of the swap space; 0 is none.",
        shown="a quarter of the memory, in full GB",
    ),
    Key(
        "wsl2.swapFile",
        "path",
        "",
        "File for the swap space, which must not exist yet; it is deleted with the machine.",
        shown="a temporary one",
    ),
    Key(
        "wsl2.defaultVhdSize",
        "memory",
        2**40,
        "Largest size of a new distribution's disk.",
        shown="1TB",
    ),
    Key(
        "wsl2.vmIdleTimeout",
        "integer",
        60_000,
        "How long the machine runs after its last distribution, in ms; less than 0: for ever.",
    ),
    Key(
        "wsl2.kernelBootTimeout",
        "integer",
        120_000,
        "How long the machine may take to boot, in milliseconds.",
        wsl_default="30000",
    ),
    Key(
        "wsl2.distributionStartTimeout",
        "integer",
        120_000,
        "How long a distribution may take to start, in milliseconds.",
        wsl_default="60000",
    ),
    Key(
        "wsl2.mountDeviceTimeout",
        "integer",
        30_000,
        "How long an attached disk may take to appear, in milliseconds.",
        wsl_default="5000",
    ),
    Key(
        "wsl2.systemDistro",
        "path",
        "",
        "Disk image of another system distribution.",
        state=State.NO_EFFECT,
        shown="Isthmus's own",
    ),
    Key(
        "wsl2.nestedVirtualization",
        "boolean",
        True,
        "Let the machine run virtual machines itself, where the accelerator can.",
    ),
    Key(
        "wsl2.hardwarePerformanceCounters",
        "boolean",
        True,
        "Show the processor's performance counters to the machine, where the accelerator can.",
    ),
    Key(
        "wsl2.isolateDistroCgroup",
        "boolean",
        True,
        "Give each distribution a control group of its own.",
        state=State.NO_EFFECT,
        always=True,
    ),
    Key(
        "wsl2.loadKernelModules",
        "text",
        "",
        "Kernel modules to load, separated by commas.",
        shown="none",
    ),
    Key(
        "wsl2.loadDefaultKernelModules",
        "boolean",
        True,
        "Load tun, ip_tables and br_netfilter.",
        state=State.NO_EFFECT,
        always=True,
    ),
    Key(
        "wsl2.safeMode",
        "boolean",
        False,
        "Start without network, drives, swap space and modules, to find faults.",
    ),
)

_DEBUGGING = (
    Key(
        "wsl2.debugConsole",
        "boolean",
        False,
        "Show the machine's console while it boots.",
    ),
    Key(
        "wsl2.debugConsoleLogFile",
        "path",
        "",
        "File for the machine's console; `serial.log` in the log directory always holds it.",
        shown="none",
    ),
    Key(
        "wsl2.earlyBootLogging",
        "boolean",
        False,
        "Log from the first moment of booting on.",
    ),
    Key(
        "wsl2.kernelDebugPort",
        "integer",
        0,
        "Port for a debugger of the kernel; 0 is none.",
        state=State.NOT_YET,
        always=0,
    ),
    Key(
        "wsl2.crashDumpFolder",
        "path",
        "",
        "Directory for core dumps of Linux programs.",
        state=State.NOT_YET,
        shown="`wsl-crashes` in the temporary directory",
    ),
    Key(
        "wsl2.maxCrashDumpCount",
        "integer",
        10,
        "How many core dumps are kept; less than 0: none is written.",
        state=State.NOT_YET,
        always=-1,
    ),
    Key(
        "wsl2.telemetry",
        "boolean",
        False,
        "Send usage data; Isthmus never does.",
        state=State.NO_EFFECT,
        always=False,
        wsl_default="true",
    ),
)

_INTEGRATION = (
    Key(
        "wsl2.hostFileSystemAccess",
        "text",
        "true",
        "Drives that distributions reach: `true` all, `false` none, or a list: `C, D, UNC`.",
        wsl_default="true",
    ),
    Key(
        "wsl2.guiApplications",
        "boolean",
        True,
        "Show windows of Linux programs on the host.",
        state=State.NOT_YET,
        always=False,
    ),
    Key(
        "wsl2.gpuSupport",
        "boolean",
        True,
        "Give the machine the host's graphics processor.",
        state=State.NOT_YET,
        always=False,
    ),
    Key("wsl2.virtio", "boolean", True, "Use virtio devices.", state=State.NO_EFFECT, always=True),
    Key(
        "wsl2.virtio9p",
        "boolean",
        False,
        "Share files by 9P over virtio.",
        state=State.NO_EFFECT,
        always=False,
    ),
    Key(
        "wsl2.virtiofs",
        "boolean",
        False,
        "Share files by virtio-fs.",
        state=State.NO_EFFECT,
        always=False,
    ),
)

_GENERAL = (
    Key(
        "general.distributionInstallPath",
        "path",
        "",
        "Directory that new distributions' directories are made in.",
        shown="`disks` in the state directory",
        wsl_default="%LOCALAPPDATA%\\wsl",
    ),
    Key(
        "general.instanceIdleTimeout",
        "integer",
        15_000,
        "How long a distribution runs after its last command, in ms; less than 0: for ever.",
    ),
    Key(
        "general.instantStart",
        "boolean",
        True,
        "Save a machine that has booted, and start later ones from it (docs/performance.md).",
        ours=True,
    ),
    Key(
        "general.distributionListUrl",
        "text",
        "",
        "List of distributions for `--install NAME` (https, http or file URL).",
        shown="none",
        ours=True,
    ),
    Key(
        "general.distributionListUrlAppend",
        "text",
        "",
        "A second such list, which is looked at before the first.",
        shown="none",
        ours=True,
    ),
)

_EXPERIMENTAL = (
    Key(
        "experimental.suspendOnIdle",
        "boolean",
        False,
        "Save an idle machine with all that runs in it, and go on with it at the next command.",
        ours=True,
    ),
    Key(
        "experimental.autoMemoryReclaim",
        "choice",
        "DropCache",
        "How memory that Linux uses as cache goes back to the host when the machine is idle.",
        choices=("Disabled", "Gradual", "DropCache"),
    ),
    Key(
        "experimental.sparseVhd",
        "boolean",
        False,
        "Make the disks of new distributions sparse; Isthmus's always are.",
        state=State.NO_EFFECT,
        always=True,
    ),
    Key(
        "experimental.setVersionDebug",
        "boolean",
        False,
        "Debug the conversion between versions of WSL.",
        state=State.NO_EFFECT,
        always=False,
    ),
    Key(
        "experimental.swiotlb",
        "memory",
        None,
        "Size of the buffer for devices that cannot reach all memory.",
        state=State.NO_EFFECT,
        shown="automatic",
    ),
    Key(
        "experimental.virtioFsAggregateShares",
        "boolean",
        True,
        "Share all drives through one virtio-fs device.",
        state=State.NO_EFFECT,
    ),
)

WSLCONFIG = (*_MACHINE, *_DEBUGGING, *_INTEGRATION, *_GENERAL, *NETWORK, *_EXPERIMENTAL)
"""%USERPROFILE%\\.wslconfig, or ~/.wslconfig."""
