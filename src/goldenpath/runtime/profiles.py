"""The defaults that are an environment's own."""

from __future__ import annotations

from typing import Final, TypeVar, cast

import msgspec

T = TypeVar("T")

LOCAL_SCALE: Final = 0.17
"""What a time-out of the cloud is multiplied with on the machine of somebody who builds."""


class ByEnvironment(msgspec.Struct, frozen=True):
    """The default of a setting whose value is the environment's: its profiles."""

    local: object
    testing: object
    staging: object
    production: object


def by_environment(*, local: T, testing: T, staging: T, production: T) -> T:
    """For the default of a field of `Settings`: it has the value of the environment where nothing else is set."""
    return cast("T", ByEnvironment(local, testing, staging, production))


def cloud(value: T, *, local: T, testing: T) -> T:
    """The same, with one value for staging and production."""
    return by_environment(local=local, testing=testing, staging=value, production=value)


def scaled(seconds: float) -> float:
    """The same, for a time-out of the cloud that is `LOCAL_SCALE` of it where people build, and a third in tests; in
    whole seconds, so that 30 s become 5 s and 10 s."""
    return cloud(seconds, local=float(round(seconds * LOCAL_SCALE)), testing=float(round(seconds / 3)))
