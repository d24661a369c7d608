from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from goldenpath.runtime.silence import LOOKS, Silence


@given(
    st.floats(0.1, 100),
    st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.booleans()), max_size=60),
)
def test_silence_is_found_never_early_and_at_most_an_eighth_late(
    limit: float, moments: list[tuple[float, bool, bool]]
) -> None:
    """Events come when they like; `look` is called when it asked to be."""
    silence, now, mark, last = Silence(limit, 0, 0.0), 0.0, 0, 0.0
    pause: float | None = limit / LOOKS
    for share, speaks, excused in moments:
        assert pause is not None
        if speaks:
            mark, last = mark + 1, now + share * pause
        now += pause
        if excused:
            last = now
        pause = silence.look(mark, now, excused=excused)
        if pause is None:
            assert now - last >= limit * 0.999
            return
        assert 0 < pause <= limit / LOOKS
        assert now - last <= limit * (1 + 1 / LOOKS) * 1.001
