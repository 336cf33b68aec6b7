"""What probing the accelerators found out, as data. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from vm.spec import Accelerator


class Verdict(StrEnum):
    """What became of the probe's guest under one accelerator."""

    WORKS = "works"
    """It ran, and gave the answer that only it could know."""
    UNAVAILABLE = "unavailable"
    """Not tried: this host does not offer it to this user."""
    REFUSED = "refused"
    """QEMU ended without running it."""
    BROKEN = "broken"
    """It was executed wrongly: QEMU paused it, or its answer was not the right one."""
    SILENT = "silent"
    """It had not finished at the deadline; QEMU was ended."""


@dataclass(frozen=True)
class ProbeResult:
    """One accelerator's turn."""

    accelerator: Accelerator
    verdict: Verdict
    detail: str
    """One line for `isthmus --status`."""
    elapsed_s: float

    @property
    def works(self) -> bool:
        """Whether machines can use it."""
        return self.verdict is Verdict.WORKS

    def to_entry(self) -> dict[str, object]:
        """As JSON."""
        return {
            "accelerator": self.accelerator.value,
            "verdict": self.verdict.value,
            "detail": self.detail,
            "elapsed_s": round(self.elapsed_s, 3),
        }

    @classmethod
    def from_entry(cls, entry: object) -> ProbeResult:
        """From JSON. Raises ValueError, KeyError or TypeError if it is not what we wrote."""
        if not isinstance(entry, Mapping):
            raise TypeError("not an object")
        return cls(
            Accelerator(entry["accelerator"]),
            Verdict(entry["verdict"]),
            str(entry["detail"]),
            float(entry["elapsed_s"]),
        )


@dataclass(frozen=True)
class ProbeReport:
    """All turns, in order; the last one is the first that worked."""

    results: tuple[ProbeResult, ...]
    from_cache: bool = False

    @property
    def chosen(self) -> Accelerator | None:
        """The accelerator to use; None if none works."""
        return next((result.accelerator for result in self.results if result.works), None)
