"""The flags behind the OpenFeature API, for code that asks by it: needs `goldenpath[openfeature]`.

OpenFeature keeps its providers in the process; that is the caller's choice, and nothing here does it:

    from openfeature import api
    api.set_provider(GoldenpathProvider(app.build().flags))
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import FlagNotFoundError, InvalidContextError, TypeMismatchError
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from goldenpath.runtime.context import InvalidContext, Principal
from goldenpath.runtime.flags.definition import UnknownFlag
from goldenpath.runtime.flags.flags import Flags
from goldenpath.wire.ids import SessionId, UserId

T = TypeVar("T")


class GoldenpathProvider(AbstractProvider):
    """An OpenFeature provider of `flags`. Resolving is safe from any thread, and takes no I/O.

    The targeting key is the user's id; the attributes `tier` and `permissions` are theirs. Without a targeting key it
    is asked for what concerns nobody in particular. A change of the flags is told as PROVIDER_CONFIGURATION_CHANGED.
    """

    def __init__(self, flags: Flags) -> None:
        super().__init__()
        self._flags = flags
        flags.on_change(lambda _: self.emit_provider_configuration_changed(ProviderEventDetails()))

    def get_metadata(self) -> Metadata:
        return Metadata(name="goldenpath")

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,  # noqa: ARG002 - the SDK's to use where this raises
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        return self._resolve(flag_key, bool, evaluation_context)

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,  # noqa: ARG002
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        return self._resolve(flag_key, str, evaluation_context)

    def resolve_integer_details(
        self,
        flag_key: str,
        default_value: int,  # noqa: ARG002
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[int]:
        return self._resolve(flag_key, int, evaluation_context)

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,  # noqa: ARG002
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        return self._resolve(flag_key, float, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[FlagValueType] | Mapping[str, FlagValueType],  # noqa: ARG002
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[FlagValueType] | Mapping[str, FlagValueType]]:
        return self._resolve(flag_key, (list, dict), evaluation_context)

    def _resolve(
        self, name: str, kind: type | tuple[type, ...], context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        principal = principal_of(context)
        try:
            chosen = self._flags.variant(name, principal)
            flag = self._flags.flag(name)
        except UnknownFlag as error:
            raise FlagNotFoundError(str(error)) from None
        value = flag.value(chosen)
        if kind is float and type(value) is int:
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise TypeMismatchError(f"the value of {name} is a {type(value).__name__}")
        reason = Reason.TARGETING_MATCH if name in self._flags.rules else Reason.DEFAULT
        return FlagResolutionDetails(value, variant=_variant(chosen), reason=reason)


def context_of(principal: Principal) -> EvaluationContext:
    """What to ask OpenFeature with for `principal`."""
    return EvaluationContext(principal.user_id, {"tier": principal.tier, "permissions": sorted(principal.permissions)})


def principal_of(context: EvaluationContext | None) -> Principal | None:
    """Whom `context` stands for; None: nobody in particular. Raises `InvalidContextError`."""
    if context is None or context.targeting_key is None:
        return None
    tier = context.attributes.get("tier", "free")
    permissions = context.attributes.get("permissions", ())
    if not isinstance(tier, str) or isinstance(permissions, str) or not isinstance(permissions, Sequence):
        raise InvalidContextError("tier is a string, permissions a list of strings")
    try:
        return Principal(
            UserId(context.targeting_key), SessionId("openfeature"), math.inf, frozenset(map(str, permissions)), tier
        )
    except InvalidContext as error:
        raise InvalidContextError(str(error)) from None


def _variant(chosen: bool | str) -> str:
    return chosen if isinstance(chosen, str) else ("on" if chosen else "off")
