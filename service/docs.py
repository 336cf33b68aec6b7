"""docs/configuration.md, made from the tables: `python -m service.docs` writes it.

A developer's tool. A test fails while the file differs from what this makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from service.settings_keys import WSLCONFIG
from wire.wslconf import Key, State
from wire.wslconf_keys import DISTRIBUTION_CONF, WSL_CONF

TARGET = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"

_KINDS = {
    "boolean": "true, false",
    "integer": "integer",
    "memory": "size",
    "text": "text",
    "path": "path",
    "mac": "MAC address",
    "ip": "IPv4 address",
    "ports": "ports, by commas",
}
"""What a kind of key is called; a choice shows its choices."""

_STATES = {State.HONOURED: "", State.NOT_YET: "*Not yet.*", State.NO_EFFECT: "*No effect.*"}

_OPENING = """\
<!-- Made by `python -m service.docs` from service/settings_keys*.py and wire/wslconf_keys.py. \
Do not edit. -->

# Configuration

Isthmus reads WSL's own files, so that those you have keep their meaning.

| file | says | read |
| --- | --- | --- |
| `%USERPROFILE%\\.wslconfig`, elsewhere `~/.wslconfig` | how the virtual machine is made | when \
the machine starts (sizes, kernel), else when needed |
| `/etc/wsl.conf` in a distribution | how that distribution runs | when it starts |
| `/etc/wsl-distribution.conf` in a distribution | what its makers want done at installation | \
when it is installed, and at its first run |

A change of `.wslconfig` that concerns the machine takes effect after `isthmus --shutdown`, one of
`wsl.conf` after `isthmus --terminate NAME`.

Keys marked *Not yet* are understood, and who sets one is told. Keys marked *No effect* steer a
part of Windows or of WSL that Isthmus has no counterpart of. Neither is said of a value that asks
for what is the case anyway.

## How the files are read

```ini
[wsl2]                     # a section; keys belong to the one above them
memory = 4GB               # blanks around the value do not count, # begins a comment
kernel = C:\\\\kernels\\\\bzImage
kernelCommandLine = "loglevel=7 \\
    quiet"                 # a backslash at the end continues the line
```

- Names of sections and keys: letters and digits; their case does not matter.
- `"` turns quoting on and off: within, blanks at the ends and `#` belong to the value.
- Escapes: `\\\\`, `\\"`, `\\b`, `\\n`, `\\t`. Any other makes the line invalid, so backslashes of
  Windows paths are written twice.
- Integers are decimal, hexadecimal (`0x1F`) or octal (`017`). Booleans are `true`, `false`, `1`
  and `0`. A size is a number and a unit without a blank: `B`, `K` or `KB`, `M` or `MB`, `G` or
  `GB`, `T` or `TB`, all powers of 1024.
- A key that stands there twice has its first value.
- An invalid value leaves the default. In `.wslconfig` an invalid line is skipped; in the other
  two nothing counts from there on.

What is wrong is said on standard error, once per change of `.wslconfig` and at each start of a
distribution: `isthmus: Unknown key 'wsl2.memroy' in C:\\Users\\me\\.wslconfig:2`. `isthmus
--status` shows what is wrong in `.wslconfig` at any time. The file may be UTF-8, or UTF-16 with a
byte order mark. If it cannot be read, the defaults hold.

"""

_LISTS = """\
## Idle times

What keeps a distribution running is a command in it that somebody waits for, as with WSL. What
that has left in the background does not: it ends with the distribution, `instanceIdleTimeout`
after the last command's end. The machine ends `vmIdleTimeout` after its last distribution, but
never while an import, an export or the like goes on. The next command starts both again.

With `suspendOnIdle` nothing ends. `vmIdleTimeout` after the last command's end the machine is
saved with all that runs in it, in the background too, and takes no memory and no processor
until the next command, which goes on with it: programs, distributions, their drives, ports and
swap space, the clock set. Meanwhile no program of Linux does anything, and no port is served.
What is saved belongs to the disks as they are then, and is used once. If a disk, QEMU, the
kernel or what `.wslconfig` says of the machine has changed since, or a file of it is damaged,
the machine boots instead and the command says so; what was written to the disks is there. A
file on a drive that a program had open has to be opened again. `isthmus --shutdown` ends the
machine, saved or not. While a Windows program runs for Linux nothing is saved. Linux hosts
only, and not with bridged networking: elsewhere, and for a machine that was started before the
option was set, the times above hold.

## Modules of the kernel

`kernelModules` names a disk image: a raw one (`.img`, `.raw`, `.ext4`, `.erofs`, `.squashfs`), or a
`.vhdx`, `.vhd` or `.qcow2`. Its file system (without partitions; ext4, or what the kernel that is
booted can read) holds the modules in `lib/modules/RELEASE`, in `RELEASE` or at its top, where
RELEASE is what `uname -r` says; `make modules_install` and `mkfs.ext4 -d` make one. It is only
read, and distributions see it in `/lib/modules`, so that `modprobe` works in them.

## Lists of distributions

`isthmus --install NAME` knows Debian, and what the lists at `distributionListUrl` offer. They have
the format of WSL's `DistributionInfo.json`; their addresses begin with `https://`, `http://` or
`file://`:

```json
{
  "ModernDistributions": {
    "Example": [
      {
        "Name": "Example-1", "FriendlyName": "Example Linux 1", "Default": true,
        "Amd64Url": {"Url": "https://example.org/1.wsl", "Sha256": "0x9f86d08188..."}
      }
    ]
  }
}
```

A name is that of a version (`Example-1`) or of a group, which means its version with `Default`.
Case does not matter. Lists are searched in this order: those in `ISTHMUS_DISTRIBUTION_LIST`,
`distributionListUrlAppend`, `distributionListUrl`. Versions without an `Amd64Url` are left out, as
are those of the older part, `Distributions`, which only names app packages for Windows. A file is
used only if its SHA-256 is right; without one it is refused (`TRUST_E_BAD_DIGEST`). A list that
comes from the network may not name a `file://`.

## The first run

The first interactive shell of a distribution that was installed with `--install` (not imported)
runs `oobe.command` before it, as root. If that succeeds, `oobe.defaultUid` becomes the default
user and the shell starts as that user. If it fails, `OOBE command "..." failed, exiting` is
written, the status is 1, and the next interactive shell tries again. Commands that are not
interactive run as root until then: `isthmus -d NAME -e sh` leads around a broken setup.

## Environment variables

| variable | meaning |
| --- | --- |
| `ISTHMUS_HOME` | The directory that holds distributions, settings and logs. |
| `ISTHMUS_WSLCONFIG` | A file to read in the place of `.wslconfig`. |
| `ISTHMUS_DISTRIBUTION_LIST` | Addresses of lists of distributions, separated by blanks. |
| `ISTHMUS_CACHE` | The directory for downloads and images, which may be deleted. |
| `ISTHMUS_QEMU` | The directory of the QEMU to use. |
| `ISTHMUS_IMAGE` | A directory with a kernel and a system image made elsewhere. |
| `ISTHMUS_DEBIAN_MIRROR` | A mirror of Debian's archive. |
| `ISTHMUS_DEBIAN_SECURITY_MIRROR` | A mirror of Debian's archive of security updates. |

The service has those of the command that started it.
"""


def markdown() -> str:
    """The whole page."""
    return "".join(
        [
            _OPENING,
            _file("`.wslconfig`", WSLCONFIG),
            _file("`/etc/wsl.conf`", WSL_CONF),
            _file("`/etc/wsl-distribution.conf`", DISTRIBUTION_CONF),
            _LISTS,
        ]
    )


def _file(name: str, keys: Sequence[Key]) -> str:
    """The keys of a file, a table for each section."""
    parts = [f"## {name}\n\n"]
    for section in dict.fromkeys(key.name.partition(".")[0] for key in keys):
        parts.append(f"### [{section}]\n\n| key | value | default | meaning |\n")
        parts.append("| --- | --- | --- | --- |\n")
        parts += [_row(key) for key in keys if key.name.startswith(f"{section}.")]
        parts.append("\n")
    return "".join(parts)


def _row(key: Key) -> str:
    notes = [_STATES[key.state]]
    notes += [f"Also `{alias}`." for alias in key.aliases]
    if key.wsl_default:
        notes.append(f"WSL's default: {key.wsl_default}.")
    if key.ours:
        notes.append("*(ours)*")
    meaning = " ".join([key.about, *filter(None, notes)])
    kind = ", ".join(key.choices) or _KINDS[key.kind]
    name = key.name.partition(".")[2]
    return f"| `{name}` | {kind} | {default_text(key)} | {meaning} |\n"


def default_text(key: Key) -> str:
    """A key's default, as it would be written in the file, or what it depends on."""
    if key.shown:
        return key.shown
    if isinstance(key.default, bool):
        return "true" if key.default else "false"
    return f"{key.default}" or "none"


if __name__ == "__main__":
    TARGET.write_text(markdown(), encoding="utf-8", newline="\n")
    print(TARGET)
