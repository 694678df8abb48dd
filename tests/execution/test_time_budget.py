"""execution.time_budget: time left, shares of it, and the order in which work is skipped."""

import math
import time
from pathlib import Path

import pytest

from ariel_lib.execution.time_budget import LEAST_RESERVE, SKIP_ORDER, Budget, OutOfTimeError, choose_skipped


class FakeClock:
    """A clock that the test sets."""

    now = 0.0

    def __call__(self):
        return self.now


def test_time_left_is_limit_minus_reserve_minus_time_spent():
    clock = FakeClock()
    budget = Budget(1000, clock=clock)
    clock.now = 300
    assert budget.spent == 300
    assert budget.left == 1000 - 300 - 20
    assert Budget(10, clock=clock).left == 10 - LEAST_RESERVE


def test_without_a_limit_nothing_is_skipped():
    budget = Budget(None)
    assert math.isinf(budget.left)
    assert budget.choose(1e9, {"report": 1e9}) == ()
    assert budget.within(lambda: 3) == 3


def test_a_share_has_part_of_the_time_and_the_same_rates():
    clock = FakeClock()
    budget = Budget(1000, clock=clock)
    budget.measure("visit", 4, 20)
    stage = budget.share(0.5)
    assert stage.spent + stage.limit == pytest.approx(0.5 * budget.left)
    assert stage.cost("visit", 10) == 50
    stage.skip("report", "no time")
    assert budget.skipped == {"report": "no time"}


def test_work_is_skipped_in_order_and_no_more_than_needed():
    costs = dict.fromkeys(SKIP_ORDER, 10.0)
    for n in range(len(SKIP_ORDER) + 1):
        assert choose_skipped(100 + 10 * (len(SKIP_ORDER) - n), 100, costs) == SKIP_ORDER[:n]
    assert choose_skipped(0, 100, costs) == SKIP_ORDER
    assert choose_skipped(105, 100, {"report": 10.0}) == ("report",)
    with pytest.raises(ValueError, match="coffee"):
        choose_skipped(1, 1, {"coffee": 1.0})


def test_work_beyond_the_time_left_raises():
    budget = Budget(LEAST_RESERVE + 0.2)
    with pytest.raises(OutOfTimeError):
        budget.within(lambda: time.sleep(5))
    assert budget.spent < LEAST_RESERVE + 1


def test_an_error_of_the_work_is_raised():
    with pytest.raises(KeyError):
        Budget(100).within(lambda: {}["no"])


def test_optional_work_that_fails_is_skipped():
    budget = Budget(100)
    assert budget.attempt("figure", 1, lambda: 3) == 3
    assert budget.attempt("report", 1, lambda: Path("/no/such/file").read_bytes()) is None
    assert budget.attempt("film", 1e6, lambda: 3) is None
    assert set(budget.skipped) == {"report", "film"}


@pytest.mark.parametrize("limit", [0, -1, math.nan])
def test_a_limit_must_be_positive(limit):
    with pytest.raises(ValueError, match="seconds above 0"):
        Budget(limit)
