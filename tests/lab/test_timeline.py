"""What was measured second by second: as many samples as a page can show, over the whole of the run."""

from __future__ import annotations

import itertools

import pytest

from goldenpath.lab.timeline import MAX_SAMPLES, Samples


@pytest.mark.parametrize("count", [1, 1_000, 1_024, 1_025, 100_000])
def test_a_long_run_keeps_a_bounded_number_of_samples_evenly_and_its_figures_are_those_of_all(count: int) -> None:
    samples = Samples()
    for second in range(count):
        samples.take(float(second), {"memory_mb": float(second)})
    times = [at for at, _ in samples.kept]
    assert (count if count <= MAX_SAMPLES else MAX_SAMPLES / 2) <= len(times) <= MAX_SAMPLES
    assert len({later - earlier for earlier, later in itertools.pairwise(times)}) <= 1
    assert times[0] == 0.0
    assert count - times[-1] <= count / len(times) + 1
    assert (samples.count, samples.highest) == (count, {"memory_mb": count - 1.0})
    assert samples.mean("memory_mb") == pytest.approx((count - 1) / 2)
