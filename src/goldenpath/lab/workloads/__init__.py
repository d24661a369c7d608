"""The programs that scenarios are made of, by name."""

from __future__ import annotations

from typing import Final

import msgspec

from goldenpath.lab.workload import Workload, WorkloadSpec
from goldenpath.lab.workloads.asking import Asking
from goldenpath.lab.workloads.golden_path import GoldenPath

WORKLOADS: Final[dict[str, type[Workload]]] = {
    "asking": Asking,
    "golden_path": GoldenPath,
}


def make_workload(spec: WorkloadSpec) -> Workload:
    """The workload of this name with these options. Raises KeyError for an unknown name, `msgspec.ValidationError` for
    options that it does not have."""
    return msgspec.convert(spec.options, WORKLOADS[spec.name])
