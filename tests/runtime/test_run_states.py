from __future__ import annotations

from typing import get_args

import pytest

from goldenpath.runtime.interfaces import RunStatus
from goldenpath.runtime.run_states import ENDED, TRANSITIONS, IllegalStepError, Step, after

STATUSES: tuple[RunStatus, ...] = get_args(RunStatus)
STEPS: tuple[Step, ...] = get_args(Step)


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("step", STEPS)
def test_a_step_leads_where_the_table_says_or_is_refused(status: RunStatus, step: Step) -> None:
    if (status, step) in TRANSITIONS:
        assert after(status, step) == TRANSITIONS[status, step]
    else:
        with pytest.raises(IllegalStepError, match=f"a {status} run cannot {step}"):
            after(status, step)


def test_a_run_that_has_ended_changes_no_more() -> None:
    assert {status for status, _ in TRANSITIONS} == set(STATUSES) - ENDED == {"queued", "running"}


def test_every_end_has_a_step_of_its_own_and_is_reached_only_by_running() -> None:
    assert {end for (status, _), end in TRANSITIONS.items() if status == "running"} == ENDED
    assert [end for (status, _), end in TRANSITIONS.items() if status == "queued"] == ["running"]
