"""The programs that scenarios are made of, by name."""

from __future__ import annotations

from typing import Final

import msgspec

from goldenpath.lab.workload import Workload, WorkloadSpec
from goldenpath.lab.workloads.asking import Asking
from goldenpath.lab.workloads.cancelling import Cancelling
from goldenpath.lab.workloads.flooding import Flooding
from goldenpath.lab.workloads.golden_path import GoldenPath
from goldenpath.lab.workloads.intruder import Intruder
from goldenpath.lab.workloads.reconnecting import Reconnecting
from goldenpath.lab.workloads.slow_reader import SlowReader
from goldenpath.lab.workloads.two_tabs import TwoTabs

WORKLOADS: Final[dict[str, type[Workload]]] = {
    "asking": Asking,
    "golden_path": GoldenPath,
    "cancelling": Cancelling,
    "flooding": Flooding,
    "intruder": Intruder,
    "reconnecting": Reconnecting,
    "slow_reader": SlowReader,
    "two_tabs": TwoTabs,
}


def make_workload(spec: WorkloadSpec) -> Workload:
    """The workload of this name with these options. Raises KeyError for an unknown name, `msgspec.ValidationError` for
    options that it does not have."""
    return msgspec.convert(spec.options, WORKLOADS[spec.name])
