"""What a job of a build took, as the last line of its log says it: whoever started it may not be its parent."""

import re
import resource
import sys
from pathlib import Path
from typing import NamedTuple

_LINE = "used {cpu_s:.2f} s of processor time and {memory_mb:.1f} MB of memory"
_PATTERN = re.compile(r"^used ([\d.]+) s of processor time and ([\d.]+) MB of memory$", re.MULTILINE)
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes


class Usage(NamedTuple):
    """Attributes:
    cpu_s: seconds on all cores, of a process and of those that it started and waited for.
    memory_mb: largest resident set of one of them.
    """

    cpu_s: float | None
    memory_mb: float | None

    def __str__(self) -> str:
        return _LINE.format(**self._asdict())

    @classmethod
    def so_far(cls) -> "Usage":
        """Of this process."""
        parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        largest = max(part.ru_maxrss for part in parts) * _MAXRSS_UNIT
        return cls(sum(part.ru_utime + part.ru_stime for part in parts), largest / 2**20)

    @classmethod
    def read(cls, log: Path) -> "Usage":
        """What a log ends with; None where it says nothing."""
        try:
            found = _PATTERN.findall(log.read_text(encoding="utf-8", errors="replace"))
        except OSError:
            found = []
        return cls(*map(float, found[-1])) if found else cls(None, None)
