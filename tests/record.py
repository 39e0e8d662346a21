"""What the suite has proven in this run, for the terminal summary. Comparators write here; conftest.py prints."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field


@dataclass
class Family:
    """One folder of tests: what was compared and how near the nearest margin came to its limit."""

    counts: Counter[str] = field(default_factory=Counter)
    worst: tuple[float, str] = (-1.0, "")

    def line(self) -> str:
        counted = " · ".join(f"{n:,} {what}" for what, n in self.counts.items())
        worst = f" · worst margin {self.worst[0]:.0%} of its limit: {self.worst[1]}" if self.worst[0] >= 0 else ""
        return (counted or "nothing compared") + worst


families: dict[str, Family] = defaultdict(Family)
excuses: list[str] = []
notes: list[str] = []
current = "suite"


def count(what: str, n: int = 1) -> None:
    """Adds `n` compared things (layers, utterances, words, steps …) to the family whose test is running."""
    families[current].counts[what] += n


def margin(name: str, value: float, limit: float) -> None:
    """Remembers the largest share of its limit that any passing value of this family used."""
    share = value / limit if limit > 0 else 0.0
    if share > families[current].worst[0]:
        families[current].worst = (share, f"{name} = {value:.3g}, limit {limit:.3g}")


def excuse(text: str) -> None:
    """A difference that was let through, with the reason; every one is printed."""
    excuses.append(text)


def note(text: str) -> None:
    """A line for the summary: a measured figure or table row that is not a verdict."""
    notes.append(text)
