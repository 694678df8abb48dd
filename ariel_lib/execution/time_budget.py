"""The clock of a session: its limit, what work was measured to cost, what is left, and what to give up when that is short.

It knows seconds and the names of stages, not the work itself.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from ariel_lib.errors import SpectraMindError

T = TypeVar("T")

SKIP_ORDER = ("second visits", "ensemble members", "COREL", "report")  # the first is given up first
RESERVE = 0.02  # of the limit, kept for what nobody measured: the last write, a figure, the end of the notebook
LEAST_RESERVE = 3.0  # s


class OutOfTimeError(RuntimeError):
    """Work was given up because its time had run out."""


OPTIONAL_ERRORS = (OutOfTimeError, OSError, ValueError, LookupError, ArithmeticError)  # optional work may fail by these


class Budget:
    """Seconds of one session, counted from `started`.

    limit    s, None: no limit
    started  a reading of `clock`; default: now
    skipped     what was given up so far → why
    """

    def __init__(
        self, limit: float | None, *, started: float | None = None, clock: Callable[[], float] = time.monotonic
    ):
        if limit is not None and not limit > 0:
            raise SpectraMindError(f"the limit of a budget is a number of seconds above 0 or None, found {limit!r}")
        self.limit = math.inf if limit is None else float(limit)
        self.clock, self.started = clock, clock() if started is None else started
        self.rates: dict[str, float] = {}
        self.skipped: dict[str, str] = {}

    @property
    def spent(self) -> float:
        return self.clock() - self.started

    @property
    def left(self) -> float:
        """Seconds that work may still take: what the limit leaves, less the reserve."""
        reserve = 0.0 if math.isinf(self.limit) else max(LEAST_RESERVE, RESERVE * self.limit)
        return self.limit - reserve - self.spent

    def share(self, fraction: float) -> "Budget":
        """A stage's own budget: it ends when that fraction of what is left is used. Rates and what is skipped are shared."""
        stage = Budget(None, started=self.started, clock=self.clock)
        stage.rates, stage.skipped = self.rates, self.skipped
        stage.limit = self.spent + fraction * self.left
        return stage

    def measure(self, stage: str, pieces: int, seconds: float) -> None:
        """Note what so many pieces of work took; the newest measurement counts."""
        if pieces > 0:
            self.rates[stage] = seconds / pieces

    def cost(self, stage: str, pieces: int = 1) -> float:
        """Seconds that so many pieces should take; 0 for work that was never measured."""
        return self.rates.get(stage, 0.0) * pieces

    def choose(self, essential: float, optional: Mapping[str, float]) -> tuple[str, ...]:
        """Which of the optional things (name of SKIP_ORDER → s) the time left is too short for, the first named first."""
        return choose_skipped(self.left, essential, optional)

    def skip(self, what: str, why: str) -> None:
        """Put on record that something was left undone."""
        self.skipped[what] = why

    def within(self, work: Callable[[], T]) -> T:
        """The result of `work`, or OutOfTimeError when it is not there once the time left has passed.

        What cannot be interrupted goes on in a thread that nobody waits for.
        """
        if math.isinf(self.limit):
            return work()
        outcome: list[tuple[bool, object]] = []

        def run() -> None:
            try:
                outcome.append((True, work()))
            except BaseException as error:  # noqa: BLE001 (handed to the waiting thread, which raises it)
                outcome.append((False, error))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(max(self.left, 0.0))
        if not outcome:
            raise OutOfTimeError(f"stopped after {self.spent:.0f} s of {self.limit:.0f} s")
        done, value = outcome[0]
        if not done:
            raise value
        return value

    def attempt(self, what: str, seconds: float, work: Callable[[], T]) -> T | None:
        """Do optional work that should take so many seconds; None, and a record of it, where time or disk run out."""
        if seconds > self.left:
            self.skip(what, f"{max(self.left, 0.0):.0f} s were left")
            return None
        try:
            return self.within(work)
        except OPTIONAL_ERRORS as error:
            self.skip(what, f"{type(error).__name__}: {error}")
            return None

    def __str__(self) -> str:
        limit = "no limit" if math.isinf(self.limit) else f"of {format_seconds(self.limit)}"
        return f"{format_seconds(self.spent)} {limit}"


def choose_skipped(left: float, essential: float, optional: Mapping[str, float]) -> tuple[str, ...]:
    """What to give up, in SKIP_ORDER, until the essential and the rest of the optional (name → s) fit into `left`."""
    unknown = sorted(set(optional) - set(SKIP_ORDER))
    if unknown:
        raise SpectraMindError(f"only {', '.join(SKIP_ORDER)} can be given up, found {', '.join(unknown)}")
    need, skipped = essential + sum(optional.values()), []
    for name in SKIP_ORDER:
        if need <= left:
            break
        if optional.get(name, 0.0) > 0:
            skipped.append(name)
            need -= optional[name]
    return tuple(skipped)


def format_seconds(seconds: float) -> str:
    """0 h 07 min, or whole seconds below two minutes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
