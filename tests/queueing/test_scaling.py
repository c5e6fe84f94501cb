"""The scaler: up at once and in large steps, down late and one by one, never past its bounds."""

from __future__ import annotations

import pytest

from xagent_core import ConfigError, QueueDepth
from xagent_core.queueing.scaling import Scaler, ScalingConfig

CONFIG = ScalingConfig(least=1, most=8, slots=2, age=1.0, settle=3.0, calm=15.0)


def load(waiting=0, age=0.0):
    return QueueDepth(waiting=waiting, delayed=0, running=0, dead=0, oldest_age=age, totals={})


def decide(scaler, *, workers, busy=0, now=100.0, **depth):
    return scaler.decide(load(**depth), workers=workers, busy=busy, now=now).wanted


def test_nothing_to_do_keeps_the_least():
    assert decide(Scaler(CONFIG), workers=1) == 1


def test_it_starts_what_is_missing_of_the_least():
    assert decide(Scaler(CONFIG), workers=0) == 1


def test_a_burst_doubles_and_waits_for_the_new_ones_to_begin():
    scaler = Scaler(CONFIG)
    assert decide(scaler, workers=1, busy=2, waiting=500, now=0.0) == 2
    assert decide(scaler, workers=2, busy=2, waiting=490, now=1.0) == 2
    assert decide(scaler, workers=2, busy=4, waiting=480, now=3.0) == 4
    assert decide(scaler, workers=4, busy=8, waiting=400, now=6.0) == 8
    assert decide(scaler, workers=8, busy=16, waiting=300, now=60.0) == 8


def test_no_more_than_the_jobs_need():
    assert decide(Scaler(CONFIG), workers=2, busy=4, waiting=1, age=2.0) == 3


def test_what_free_slots_will_take_adds_nothing():
    assert decide(Scaler(CONFIG), workers=2, busy=1, waiting=3) == 2


def test_a_job_that_has_waited_for_long_adds_a_worker():
    assert decide(Scaler(CONFIG), workers=1, busy=1, waiting=1, age=5.0) == 1, "a slot is free: it is about to begin"
    assert decide(Scaler(CONFIG), workers=1, busy=2, waiting=1, age=5.0) == 2


def test_calm_drains_one_after_the_other():
    scaler = Scaler(CONFIG)
    assert decide(scaler, workers=4, now=0.0) == 4
    assert decide(scaler, workers=4, now=14.9) == 4
    assert decide(scaler, workers=4, now=15.0) == 3
    assert decide(scaler, workers=3, now=16.0) == 3
    assert decide(scaler, workers=3, now=31.0) == 2


def test_load_in_waves_does_not_make_it_swing():
    scaler, workers = Scaler(CONFIG), 4
    for second in range(120):
        busy = 8 if second % 10 < 3 else 0
        workers = decide(scaler, workers=workers, busy=busy, now=float(second))
    assert workers == 4


def test_bounds_that_were_lowered_are_met():
    assert decide(Scaler(CONFIG), workers=12, busy=24, waiting=100) == 8


def test_the_reason_is_told():
    decision = Scaler(CONFIG).decide(load(waiting=9, age=2.5), workers=1, busy=2, now=0.0)
    assert (decision.wanted, decision.slots, decision.busy) == (2, 2, 2)
    assert decision.reason == "9 jobs wait, the oldest for 2.5 s"


@pytest.mark.parametrize("bounds", ["4:1", "0:3", "4", "a:b", "", "1:2:3", "-1:2"])
def test_bounds_that_are_none(bounds):
    with pytest.raises(ConfigError, match="no bounds"):
        ScalingConfig.parse(bounds, slots=1, calm=1)
