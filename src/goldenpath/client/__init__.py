"""A client that stays connected: runs agents, follows threads, and resumes where it was."""

from goldenpath.client.api import Api, History
from goldenpath.client.client import Client, Thread
from goldenpath.client.errors import ClientClosed, ConnectionLost, Gap, ProtocolViolation, ThreadDetached
from goldenpath.client.link import LinkSettings
from goldenpath.client.reconnect import Backoff
from goldenpath.client.statistics import ClientStatistics
from goldenpath.client.stream import Attachment, Delivery, Run
from goldenpath.wire.answers import (
    AgentInfo,
    Ends,
    Me,
    RunEnd,
    RunInfo,
    RunSummary,
    ThreadInfo,
    Threads,
    ThreadSummary,
    Tokens,
)
from goldenpath.wire.commands import Cursor
from goldenpath.wire.errors import GoldenpathError, RequestError

__all__ = [
    "AgentInfo",
    "Api",
    "Attachment",
    "Backoff",
    "Client",
    "ClientClosed",
    "ClientStatistics",
    "ConnectionLost",
    "Cursor",
    "Delivery",
    "Ends",
    "Gap",
    "GoldenpathError",
    "History",
    "LinkSettings",
    "Me",
    "ProtocolViolation",
    "RequestError",
    "Run",
    "RunEnd",
    "RunInfo",
    "RunSummary",
    "Thread",
    "ThreadDetached",
    "ThreadInfo",
    "ThreadSummary",
    "Threads",
    "Tokens",
]
