from __future__ import annotations

from goldenpath.lab.checkers.delivery import Delivery
from tests.lab.histories import FORMAT, Script, UnnumberedFormat, asked, event, find, kinds, whole_run


def delivered(*order: int, coalesced: bool = False) -> dict[str, int]:
    """What is wrong when a run's six events come in this order."""
    script = Script()
    asked(script, answer=None)
    lines = [whole_run()[number - 1] for number in order]
    if coalesced:
        script.send(*lines)
    else:
        for line in lines:
            script.send(line)
    return kinds(Delivery(FORMAT), script)


def test_every_event_once_and_in_order() -> None:
    assert not delivered(1, 2, 3, 4, 5, 6)
    assert not delivered(1, 2, 3, 4, 5, 6, coalesced=True)


def test_a_question_that_the_target_repeats_is_the_one_that_was_asked() -> None:
    for change, expected in (("", {}), ("!", {"altered": 1})):
        script = Script()
        op = asked(script)
        begin, *rest = whole_run()
        messages = [{"role": "user", "content": "before"}, {"role": "user", "content": op.text + change}]
        begin["event"]["input"] = {"messages": messages}
        script.send(begin, *rest)
        script.complete(op)
        assert kinds(Delivery(FORMAT), script) == expected


def test_an_event_that_never_comes_is_lost() -> None:
    for coalesced in (False, True):
        assert delivered(1, 2, 4, 5, 6, coalesced=coalesced) == {"lost": 1}


def test_an_event_without_a_number() -> None:
    for without in ({"seq": 0}, {}):
        script = Script()
        asked(script, answer=None)
        for line in whole_run():
            script.send({name: value for name, value in line.items() if name != "seq"} | without)
        assert kinds(Delivery(FORMAT), script) == {"malformed": 6}


def test_the_snapshot_of_a_thread_without_events_has_no_number() -> None:
    script = Script()
    op = script.invoke("attach", connection=script.open(), thread="t", epoch="e0", after=3)
    script.reply(op, 0, gap=True)
    script.send(event("MESSAGES_SNAPSHOT", 0, run=None, messages=[]))
    assert not kinds(Delivery(FORMAT), script)


def test_an_event_that_comes_twice() -> None:
    for coalesced in (False, True):
        assert delivered(1, 2, 3, 3, 4, 5, 6, coalesced=coalesced) == {"duplicate": 1}
        assert delivered(1, 2, 3, 4, 2, 5, 6, coalesced=coalesced) == {"duplicate": 1}


def test_an_event_that_comes_late_is_reordered_and_not_lost() -> None:
    for coalesced in (False, True):
        assert delivered(1, 2, 4, 3, 5, 6, coalesced=coalesced) == {"reordered": 1}
        assert delivered(1, 2, 5, 4, 3, 6, coalesced=coalesced) == {"reordered": 2}


def test_a_lost_event_is_named_with_its_neighbours_and_its_time() -> None:
    script = Script()
    asked(script, answer=None)
    script.send(*whole_run()[:2])
    script.send(*whole_run()[4:])
    (violation,) = find(Delivery(FORMAT), script.records).violations
    assert violation.witness == "user 1, thread 't': event 5 (TEXT_MESSAGE_END of run r1) came, but 3 to 4 never did"
    assert violation.at == script.records[-1].at


def test_what_a_hundred_later_events_did_not_bring_is_lost_for_good() -> None:
    for later, expected in ((99, {"reordered": 1}), (100, {"lost": 1, "duplicate": 1})):
        script = Script()
        asked(script, answer=None)
        script.send(event("RUN_STARTED", 1), *(event("CUSTOM", seq) for seq in range(3, 3 + later)))
        script.send(event("CUSTOM", 2))
        assert kinds(Delivery(FORMAT), script) == expected


def test_the_hole_that_an_attach_leaves_behind_is_lost() -> None:
    script = Script()
    asked(script, answer=None)
    script.send(whole_run()[0], whole_run()[2])
    attach = script.invoke("attach", connection=1, thread="t", epoch="e1", after=3)
    script.reply(attach, 3)
    script.send(whole_run()[1])
    assert kinds(Delivery(FORMAT), script) == {"lost": 1, "duplicate": 1}


def test_events_of_a_thread_that_is_not_subscribed() -> None:
    script = Script()
    script.open()
    script.send(event("CUSTOM", 5))
    assert kinds(Delivery(FORMAT), script)["unsubscribed"] == 1


def test_events_that_come_before_the_reply_that_begins_their_subscription() -> None:
    script = Script()
    op = script.ask(script.open())
    script.send(whole_run()[0])
    script.reply(op)
    script.send(*whole_run())
    assert kinds(Delivery(FORMAT), script) == {"unsubscribed": 1}


def test_the_snapshot_at_a_gap_has_the_number_of_the_event_before_it() -> None:
    script = Script()
    asked(script, seq=40)
    script.send(event("MESSAGES_SNAPSHOT", 40, run=None), event("CUSTOM", 41))
    assert not kinds(Delivery(FORMAT), script)


def test_an_answer_is_what_was_to_be_said() -> None:
    for parts, outcome, expected in (
        (["hel", "lo"], "success", {}),
        (["hel", "l0"], "success", {"altered": 1}),
        (["hel"], "success", {"altered": 1}),
        (["hel"], "cancelled", {}),
        (["help"], "cancelled", {"altered": 1}),
    ):
        script = Script()
        asked(script)
        script.send(*whole_run(parts, outcome=outcome))
        assert kinds(Delivery(FORMAT), script) == expected


def test_without_numbers_the_answer_shows_what_is_lost() -> None:
    format_ = UnnumberedFormat({})
    for parts, expected in ((["hel", "lo"], {}), (["lo", "hel"], {"altered": 1}), (["hel"], {"altered": 1})):
        script = Script()
        script.ask(connection=0, answer="hello")
        script.open(viewer=None)
        script.send(*whole_run(parts, numbered=False))
        assert kinds(Delivery(format_), script, format_) == expected


def test_an_answer_of_which_only_the_end_was_seen_is_not_compared() -> None:
    script = Script()
    asked(script, seq=3)
    script.send(*whole_run()[3:])
    assert not kinds(Delivery(FORMAT), script)


def test_what_cannot_be_read() -> None:
    script = Script()
    asked(script)
    script.send({"event": 5})
    assert kinds(Delivery(FORMAT), script) == {"malformed": 1}
