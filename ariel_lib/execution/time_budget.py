"""Time budget of a session, such as a Kaggle notebook's: its limit, measured rates of work, the time left and what to skip.

Work is counted in pieces, such as planets; a stage is a kind of work with a rate of its own, such as fits.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from ariel_lib.errors import SpectraMindError

T = TypeVar("T")

SKIP_ORDER = ("second visits", "ensemble members", "COREL", "report")  # the first is skipped first
RESERVE = 0.02  # of the limit, for work without a measured rate: the last write, a figure, the end of the notebook
LEAST_RESERVE = 3.0  # s


class OutOfTimeError(RuntimeError):
    """Work was abandoned when its share of the time was spent."""


OPTIONAL_ERRORS = (OutOfTimeError, OSError, ValueError, LookupError, ArithmeticError)  # after which optional work is skipped


class Budget:
    """The time of one session in seconds, counted from `started`.

    limit    s; None for no limit
    started  a reading of `clock`; default: now
    clock    function that returns a time in s
    rates    stage → s per piece, as measured
    skipped  name of skipped work → reason

    Raises SpectraMindError for a limit that is not above 0.
    """

    def __init__(
        self, limit: float | None, *, started: float | None = None, clock: Callable[[], float] = time.monotonic
    ):
        if limit is not None and not limit > 0:
            raise SpectraMindError(f"limit of the time budget: expected a number of seconds above 0 or None, found {limit!r}")
        self.limit = math.inf if limit is None else float(limit)
        self.clock, self.started = clock, clock() if started is None else started
        self.rates: dict[str, float] = {}
        self.skipped: dict[str, str] = {}

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.started

    @property
    def left(self) -> float:
        """Seconds that work may still take: limit minus reserve minus time spent."""
        reserve = 0.0 if math.isinf(self.limit) else max(LEAST_RESERVE, RESERVE * self.limit)
        return self.limit - reserve - self.spent

    def share(self, fraction: float) -> "Budget":
        """A budget of that fraction of the time left, for one stage; it shares rates and skipped work with this one."""
        stage = Budget(None, started=self.started, clock=self.clock)
        stage.rates, stage.skipped = self.rates, self.skipped
        stage.limit = self.spent + fraction * self.left
        return stage

    def measure(self, stage: str, pieces: int, seconds: float) -> None:
        """Record the duration of `pieces` pieces of work; the latest measurement is used."""
        if pieces > 0:
            self.rates[stage] = seconds / pieces

    def cost(self, stage: str, pieces: int = 1) -> float:
        """Expected seconds of `pieces` pieces of work; 0 for a stage without a measurement."""
        return self.rates.get(stage, 0.0) * pieces

    def choose(self, essential: float, optional: Mapping[str, float]) -> tuple[str, ...]:
        """choose_skipped for the time left: names of the optional work to skip."""
        return choose_skipped(self.left, essential, optional)

    def skip(self, what: str, why: str) -> None:
        """Record skipped work and the reason."""
        self.skipped[what] = why

    def within(self, work: Callable[[], T]) -> T:
        """The result of `work`. Raises OutOfTimeError when it is not done within the time left.

        The work is done in a daemon thread; a thread cannot be interrupted, so that after the error it goes on in the background.
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
        """Result of optional work that is expected to take that many seconds.

        None, recorded as skipped, where too little time is left or the work raises one of OPTIONAL_ERRORS.
        """
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
    """Names of the work to skip, in SKIP_ORDER, until essential and remaining optional work fit into the time left.

    left, essential  s
    optional         name in SKIP_ORDER → s; raises SpectraMindError for other names
    """
    unknown = sorted(set(optional) - set(SKIP_ORDER))
    if unknown:
        raise SpectraMindError(f"optional work: expected names among {', '.join(SKIP_ORDER)}, found {', '.join(unknown)}")
    need, skipped = essential + sum(optional.values()), []
    for name in SKIP_ORDER:
        if need <= left:
            break
        if optional.get(name, 0.0) > 0:
            skipped.append(name)
            need -= optional[name]
    return tuple(skipped)


def format_seconds(seconds: float) -> str:
    """Duration as text: 0 h 07 min, or whole seconds below two minutes."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
