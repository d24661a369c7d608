"""Histograms: percentiles within half a percent, whatever is recorded, however it is split and merged."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldenpath.histogram import Dump, Histogram

SECONDS = st.floats(1e-6, 1e5)


def exact(values: list[float], percent: float) -> float:
    """The nearest rank."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


@given(st.lists(SECONDS, min_size=1), st.sampled_from([0.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0]))
def test_a_percentile_is_the_nearest_rank_within_half_a_percent(values: list[float], percent: float) -> None:
    assert Histogram(values).percentile(percent) == pytest.approx(exact(values, percent), rel=0.004)


@given(st.lists(SECONDS), st.lists(SECONDS))
def test_merging_is_the_same_as_recording_everything_in_one(left: list[float], right: list[float]) -> None:
    merged = Histogram(left).merge(Histogram(right))
    whole = Histogram([*left, *right])
    assert merged.buckets() == whole.buckets()
    assert merged.count == whole.count == len(left) + len(right)
    assert merged.highest == whole.highest


@given(st.lists(SECONDS))
def test_it_survives_the_way_through_json(values: list[float]) -> None:
    histogram = Histogram(values)
    dump = msgspec.json.decode(msgspec.json.encode(histogram.dump()), type=Dump)
    assert Histogram.load(dump).dump() == histogram.dump()


@given(st.lists(SECONDS, min_size=1))
def test_the_mean_is_within_the_precision_of_what_is_kept(values: list[float]) -> None:
    assert Histogram(values).mean == pytest.approx(sum(values) / len(values), rel=1e-5)


def test_without_values_nothing_is_said() -> None:
    histogram = Histogram()
    assert histogram.count == 0
    assert histogram.percentile(50) is None
    assert histogram.mean is None
    assert histogram.highest is None


def test_what_went_back_in_time_counts_as_nothing() -> None:
    histogram = Histogram([-1.0, 2.0])
    assert histogram.count == 2
    assert histogram.percentile(50) == 0.0
    assert histogram.highest == 2.0


def test_folding_between_recordings_changes_nothing() -> None:
    at_once, folded = Histogram(), Histogram()
    for number in range(1, 1000):
        at_once.record(number / 1000)
        folded.record(number / 1000)
        if number % 7 == 0:
            folded.fold()
    assert at_once.buckets() == folded.buckets()


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError):
        Histogram().record("1")  # type: ignore[arg-type]
