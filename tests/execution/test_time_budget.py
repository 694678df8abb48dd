"""ariel_lib.execution.time_budget: time is kept, shares end in time, and what is given up goes in the stated order."""

import math
import time
from pathlib import Path

import pytest

from ariel_lib.execution.time_budget import LEAST_RESERVE, SKIP_ORDER, Budget, OutOfTimeError, choose_skipped


class Hand:
    """A clock moved by hand."""

    now = 0.0

    def __call__(self):
        return self.now


def test_what_is_left_is_the_limit_less_what_is_spent_and_a_reserve():
    clock = Hand()
    budget = Budget(1000, clock=clock)
    clock.now = 300
    assert budget.spent == 300
    assert budget.left == 1000 - 300 - 20
    assert Budget(10, clock=clock).left == 10 - LEAST_RESERVE


def test_without_a_limit_everything_fits():
    budget = Budget(None)
    assert math.isinf(budget.left)
    assert budget.choose(1e9, {"report": 1e9}) == ()
    assert budget.within(lambda: 3) == 3


def test_a_share_ends_earlier_and_knows_the_same_rates():
    clock = Hand()
    budget = Budget(1000, clock=clock)
    budget.measure("visit", 4, 20)
    stage = budget.share(0.5)
    assert stage.spent + stage.limit == pytest.approx(0.5 * budget.left)
    assert stage.cost("visit", 10) == 50
    stage.skip("report", "no time")
    assert budget.skipped == {"report": "no time"}


def test_things_are_given_up_in_the_stated_order_and_no_more_than_needed():
    costs = dict.fromkeys(SKIP_ORDER, 10.0)
    for n in range(len(SKIP_ORDER) + 1):
        assert choose_skipped(100 + 10 * (len(SKIP_ORDER) - n), 100, costs) == SKIP_ORDER[:n]
    assert choose_skipped(0, 100, costs) == SKIP_ORDER
    assert choose_skipped(105, 100, {"report": 10.0}) == ("report",)
    with pytest.raises(ValueError, match="coffee"):
        choose_skipped(1, 1, {"coffee": 1.0})


def test_work_that_takes_too_long_is_left_behind():
    budget = Budget(LEAST_RESERVE + 0.2)
    with pytest.raises(OutOfTimeError):
        budget.within(lambda: time.sleep(5))
    assert budget.spent < LEAST_RESERVE + 1


def test_an_error_inside_the_time_is_the_caller_s():
    with pytest.raises(KeyError):
        Budget(100).within(lambda: {}["no"])


def test_optional_work_never_ends_a_session():
    budget = Budget(100)
    assert budget.attempt("figure", 1, lambda: 3) == 3
    assert budget.attempt("report", 1, lambda: Path("/no/such/file").read_bytes()) is None
    assert budget.attempt("film", 1e6, lambda: 3) is None
    assert set(budget.skipped) == {"report", "film"}


@pytest.mark.parametrize("limit", [0, -1, math.nan])
def test_a_limit_is_a_time(limit):
    with pytest.raises(ValueError, match="seconds above 0"):
        Budget(limit)
