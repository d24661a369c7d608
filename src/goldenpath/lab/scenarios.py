"""The catalogue of scenarios, in the sizes that the default service levels are about."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from goldenpath.lab.arrivals import ArrivalRate, Batches, Looping, Stage, constant, spike
from goldenpath.lab.scenario import Scenario
from goldenpath.lab.workload import WorkloadSpec

_PATH: Final = "Every user logs in, connects, asks three times, reads every answer and finds it in the history."


def _catalogue() -> Iterator[Scenario]:
    yield Scenario(
        name="golden_path",
        title="The golden path",
        checks=_PATH,
        workload=WorkloadSpec("golden_path"),
        arrivals=Looping(iterations=1, over=1.0),
        users=5,
    )
    for users in (1, 5, 10, 15, 20, 50):
        yield Scenario(
            name=f"golden_path_{users}",
            title=f"The golden path of {users} user{'s' if users > 1 else ''}",
            checks=_PATH,
            workload=WorkloadSpec("golden_path"),
            arrivals=Looping(iterations=1, over=1.0),
            users=users,
        )
    yield Scenario(
        name="connections",
        title="75 connections, 15 messages each",
        checks="Connections opened in batches of 25 all deliver every answer.",
        workload=WorkloadSpec("golden_path", {"messages": 15, "characters": 120}),
        arrivals=Batches(total=75, size=25, every=1.0),
        users=75,
    )
    yield Scenario(
        name="large_context",
        title="25 agents with contexts of 2,000 characters and more",
        checks="Large questions and the histories they grow are answered whole.",
        workload=WorkloadSpec("golden_path", {"messages": 4, "characters": 2_500}),
        arrivals=Batches(total=25, size=25),
        users=25,
    )
    yield Scenario(
        name="conversations",
        title="20 conversations of 50 messages",
        checks="Long conversations stay whole, and do not get slower than their length explains.",
        workload=WorkloadSpec("golden_path", {"messages": 50, "characters": 200}),
        arrivals=Looping(iterations=1, over=1.0),
        users=20,
    )
    yield Scenario(
        name="at_once",
        title="1,000 requests of 100 users at once",
        checks="Each user's ten simultaneous runs wait for their places and all end.",
        workload=WorkloadSpec("asking"),
        arrivals=Batches(total=1_000, size=1_000),
        users=100,
    )
    yield Scenario(
        name="sustained",
        title="10 requests a second for a minute",
        checks="A steady load is answered steadily.",
        workload=WorkloadSpec("asking"),
        arrivals=constant(10, 60),
        users=50,
    )
    yield Scenario(
        name="spike",
        title="From none to 500 requests in a second",
        checks="A sudden crowd is answered, and the target is as before when it is gone.",
        workload=WorkloadSpec("asking"),
        arrivals=spike(5, 500, before=5, during=1, after=10),
        users=200,
    )
    yield Scenario(
        name="stress",
        title="More and more until it breaks, then back",
        checks="Beyond its limit the target refuses or slows down, loses nothing, and recovers.",
        workload=WorkloadSpec("asking"),
        arrivals=ArrivalRate((Stage(30, 1_500), Stage(0, 10), Stage(40, 10)), start=10),
        users=400,
        settle=2.0,
    )
    yield Scenario(
        name="soak",
        title="50 requests a second of 50 users, for long",
        checks="Nothing grows, leaks or slows down with time, while conversations end and new ones begin.",
        workload=WorkloadSpec("asking", {"questions": 20}),
        arrivals=constant(50, 2_100),
        users=50,
    )
    yield Scenario(
        name="reconnect_storm",
        title="Everybody vanishes and comes back at once, again and again",
        checks="A lost connection costs no event and repeats none.",
        workload=WorkloadSpec("reconnecting"),
        about=("attach",),
        arrivals=Looping(iterations=5, over=0.2),
        users=100,
    )
    yield Scenario(
        name="slow_readers",
        title="A fifth of the users read slowly",
        checks="Who does not read loses nothing and delays nobody.",
        workload=WorkloadSpec("slow_reader"),
        arrivals=Looping(iterations=3, over=1.0),
        users=50,
    )
    yield Scenario(
        name="cancel_storm",
        title="Runs are cancelled as they come",
        checks="Every cancelled run ends as cancelled, at once, and nothing else does.",
        workload=WorkloadSpec("cancelling"),
        about=("cancel",),
        arrivals=Looping(iterations=5, over=0.5),
        users=50,
    )
    yield Scenario(
        name="flooding_user",
        title="One user floods, the others go on",
        checks="The others' answers come as fast as without the flood.",
        workload=WorkloadSpec("flooding"),
        arrivals=constant(40, 20),
        users=21,
    )
    yield Scenario(
        name="intruders",
        title="Everybody tries to get at everybody else's threads",
        checks="What belongs to another user is answered as what never existed.",
        workload=WorkloadSpec("intruder"),
        about=("intrude", "trespass"),
        arrivals=Looping(iterations=3, over=1.0),
        users=20,
    )


SCENARIOS: Final[dict[str, Scenario]] = {scenario.name: scenario for scenario in _catalogue()}
