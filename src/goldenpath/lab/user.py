"""A simulated user: what workloads are written in.

Each method is one operation: it is recorded, carried out by the target's adapter, and its outcome is recorded. They
raise `OperationError` when it is not ok, after recording it, so that a workload may simply let go."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from goldenpath.lab.canary import Canaries
from goldenpath.lab.coming_back import ComingBack
from goldenpath.lab.frames import Frame
from goldenpath.lab.login import Login, Renewal
from goldenpath.lab.operations import OperationError, Operations
from goldenpath.lab.patience import Patience
from goldenpath.lab.progress import Progress
from goldenpath.lab.recorder import Recorder
from goldenpath.lab.records import Closed, Invoke
from goldenpath.lab.sending import Sending
from goldenpath.lab.stream import SeenRun
from goldenpath.lab.target import Ability, Client, Credential, Target, TargetError


class User:
    """One user in one viewer. Operations may be concurrent once it is connected; cancelling them is safe."""

    def __init__(
        self,
        number: int,
        target: Target,
        recorder: Recorder,
        progress: Progress,
        canaries: Canaries,
        *,
        seed: int,
        patience: float = 60.0,
        resumes: bool = False,
        viewer: int = 0,
        login: Login | None = None,
    ) -> None:
        """`patience`: how many seconds an operation may take before it is given up. `login`: that of the user's other
        viewers; None: there are none yet."""
        self.number = number
        self.random = random.Random(f"{seed}/{number}/{viewer}")
        self.resumes = resumes
        """Whether it comes back when its connection is lost, and reads on where it stood."""
        self.abilities: frozenset[Ability] = target.abilities
        self.viewer = viewer
        self._target = target
        self._seed = seed
        self._recorder = recorder
        self._progress = progress
        self._canaries = canaries
        self._client: Client = target.client(number, viewer, recorder)
        self._client.on_closed = self._on_closed
        self._operations = Operations(number, self._client, recorder, progress, patience)
        self._renewal = Renewal(login or Login(), self._log_in_again, self._refresh)
        self._coming_back = ComingBack(self._read_on, self.random)
        self._sending = Sending(self._client, recorder, progress, self._coming_back)
        self._connecting = asyncio.Lock()
        self._asking: dict[int, Invoke] = {}
        self._threads: set[str] = set()
        self._leaving = False
        self._floods = 0

    def begin(self, intended: float) -> None:
        """The next operation counts from `intended`, a time of the history."""
        self._operations.intended = intended

    def another_viewer(self, viewer: int) -> User:
        """The same user in a second tab, say; logged in when this one is."""
        return User(
            self.number,
            self._target,
            self._recorder,
            self._progress,
            self._canaries,
            seed=self._seed,
            patience=self._operations.patience,
            resumes=self.resumes,
            viewer=viewer,
            login=self._renewal.login,
        )

    @property
    def canary(self) -> str:
        """A marker of this user, for names and for texts that are sent more than once."""
        return self._canaries.make(self.number, 0)

    @property
    def connected(self) -> bool:
        """Whether there is nothing to connect: it is connected, or the target has no connections to keep."""
        return bool(self._client.connection) or "connect" not in self.abilities

    def thread(self, name: str) -> str:
        """The id of the user's own thread of this name: of this run of the lab only, so that a target that remembers
        an earlier one does not mix them up, and nobody else's where threads have no owners."""
        own = "" if "intrude" in self.abilities else f"-{self.number}"
        return f"{name}-{self._canaries.nonce}{own}"

    # --- operations ---------------------------------------------------------------------------------------------------

    async def login(self) -> None:
        """Become somebody. Nothing where the target knows no users."""
        if "login" not in self.abilities:
            return
        op = self._operations.invoke("login")
        async with self._operations.outcome(op):
            await self._operations.patiently(self._client.login(op))
        self._renewal.logged_in(self._client.good_for if "refresh" in self.abilities else None)

    async def connect(self) -> None:
        """Open the connection. Nothing where it is open, or where the target has none to keep; who is coming back is
        waited for."""
        if self._coming_back.is_under_way:
            try:
                await self._operations.patiently(self._coming_back.wait())
            except TimeoutError as error:
                raise self._operations.not_ok(self._operations.invoke("connect"), error) from None
        async with self._connecting:  # iterations of one user may overlap, and a viewer has one connection
            if not self.connected:
                await self._connect()

    async def _connect(self) -> None:
        op = self._operations.invoke("connect")
        login = self._renewal.login
        logins = login.times
        async with self._operations.outcome(op):
            await self._operations.patiently(self._client.connect())
        if login.times > logins > 0 and "refresh" in self.abilities:
            await self._refresh()  # it was renewed meanwhile, and the connection has the login before

    async def ask(
        self,
        text: str,
        *,
        thread: str,
        run: str | None = None,
        answer: str | None = None,
        patience: float | None = None,
    ) -> SeenRun:
        """Start a run and read it to its end. `{canary}` in `text` and `answer` becomes this operation's canary. `run`
        None: a new id. Raises `OperationError` also where the run ended with an error.

        The one operation that a load consists of: it makes one future and one timer, and no task."""
        number = self._recorder.next_op()
        canary = self._canaries.make(self.number, number)
        op = self._operations.invoke(
            "ask",
            op=number,
            thread=thread,
            run=run or f"run-{self._canaries.nonce}-{number}",
            text=text.replace("{canary}", canary),
            answer=answer.replace("{canary}", canary) if answer is not None and "echo" in self.abilities else None,
        )
        patience = self._operations.patience if patience is None else patience
        self._threads.add(thread)
        self._asking[number] = op
        end = self._progress.end(op)
        giving_up = Patience(op, end, self._progress, patience)
        ended = False
        try:
            sending = self._sending.send(op)
            if sending is not None:
                await self._operations.patiently(sending, patience)
            seen = await end
            ended = True
            _see_whether_it_went_well(seen)
            self._operations.ok(op)
        except BaseException as error:
            raise self._operations.not_ok(op, error) from None
        finally:
            giving_up.end()
            del self._asking[number]
            self._progress.forget(op)
            self._sending.settled(op, ended=ended)
        return seen

    async def cancel(self, thread: str, run: str) -> None:
        """Stop a run."""
        op = self._operations.invoke("cancel", thread=thread, run=run)
        async with self._operations.outcome(op):
            await self._operations.replied(op, self._client.cancel(op))

    async def attach(self, thread: str, *, epoch: str = "", after: int | None = None) -> Frame:
        """Read a thread on from `after`; None: from now on. Returns the reply."""
        op = self._operations.invoke("attach", thread=thread, epoch=epoch, after=after)
        self._threads.add(thread)
        async with self._operations.outcome(op):
            return await self._operations.replied(op, self._client.attach(op))
        raise AssertionError

    async def history(self, thread: str) -> None:
        """Read a thread's messages. Nothing where the target cannot."""
        if "history" in self.abilities:
            op = self._operations.invoke("history", thread=thread)
            async with self._operations.outcome(op):
                await self._operations.patiently(self._client.history(op))

    async def threads(self) -> None:
        """List the user's threads. Nothing where the target cannot."""
        if "threads" in self.abilities:
            op = self._operations.invoke("threads")
            async with self._operations.outcome(op):
                await self._operations.patiently(self._client.threads(op))

    async def intrude(self, owner: int, thread: str, run: str) -> None:
        """Try to get at what is another user's; ok when every way is shut. Nothing where the target has no owners."""
        if "intrude" not in self.abilities:
            return
        op = self._operations.invoke("intrude", thread=thread, run=run, owner=owner)
        reply = self._progress.reply(op)
        try:
            async with self._operations.outcome(op):
                if (
                    await self._operations.patiently(self._client.intrude(op))
                    and (await self._operations.patiently(reply)).ok
                ):
                    raise TargetError("admitted", "attach was accepted", definite=True)
        finally:
            self._progress.forget(op)

    @contextmanager
    def flood(self) -> Iterator[None]:
        """What comes in this block is a flood, in which the others are to fare as well as outside of it. Blocks may
        overlap: the flood is over with the last."""
        if self._floods == 0:
            self._recorder.noted("flood_begun", str(self.number))
        self._floods += 1
        try:
            yield
        finally:
            self._floods -= 1
            if self._floods == 0:
                self._recorder.noted("flood_ended", str(self.number))

    async def trespass(self, credential: Credential, thread: str = "", run: str = "") -> None:
        """Try to get in, and at a thread and a run that are somebody's, with a credential that is none; ok when all was
        refused. Nothing where the target knows no users."""
        if "trespass" in self.abilities:
            op = self._operations.invoke("trespass", text=credential, thread=thread, run=run)
            async with self._operations.outcome(op):
                await self._operations.patiently(self._client.trespass(op))

    def drop(self) -> None:
        """Vanish without a goodbye."""
        self._client.drop()

    def leave(self) -> None:
        """Go, and read nothing on when coming back. Nothing where an answer is awaited still."""
        if not self._asking:
            self._threads.clear()
            self._client.drop()

    async def back(self) -> None:
        """Wait until it has come back, where it is about to."""
        await self._coming_back.wait()

    def pause(self, *, reading: bool) -> None:
        """Stop or go on taking what comes."""
        self._client.pause(reading=reading)

    async def close(self) -> None:
        """Leave."""
        self._leaving = True
        self._renewal.end()
        await self._coming_back.end()
        await self._client.close()

    # --- behind them --------------------------------------------------------------------------------------------------

    async def _log_in_again(self) -> None:
        with suppress(OperationError):  # recorded
            await self.login()

    async def _refresh(self) -> None:
        if self._client.connection:
            op = self._operations.invoke("refresh")
            with suppress(OperationError):  # recorded
                async with self._operations.outcome(op):
                    await self._operations.replied(op, self._client.refresh(op))

    def _on_closed(self, record: Closed, op: int) -> None:
        if self._leaving:
            return
        reads_on = "resume" in self.abilities
        if "connect" in self.abilities and (self.resumes or not reads_on):
            self._coming_back.begin()
            if reads_on:
                return
        for asked in self._asking.values():
            if op in (0, asked.op) and self._sending.is_sent(asked):
                self._progress.lost(asked, record)

    async def _read_on(self) -> bool:
        """Connect again, and read on where each thread stands; or, where the target cannot, log in and connect anew,
        and ask what has not been sent yet. Returns whether it is back."""
        reads_on = "resume" in self.abilities
        try:
            if not reads_on:
                await self.login()
            await self.connect()
            for asked in [] if self._client.in_turn else list(self._asking.values()):
                lost = reads_on and not self._progress.is_answered(asked)  # maybe: a run id starts nothing twice
                if lost or not self._sending.is_sent(asked):
                    await self._sending.go(asked)
            for thread in sorted(self._threads):
                stream = self._recorder.judge.stream(self.number, self.viewer, thread)
                if stream.epoch:
                    await self.attach(thread, epoch=stream.epoch, after=stream.seq)
        except (OperationError, TargetError):
            pass  # recorded; where the connection is there all the same, so is the user
        if self._client.connection:  # it may be lost again, in the same moment as the last reply came
            return True
        if not self.resumes and not self._client.in_turn:
            for asked in self._asking.values():
                if not self._sending.is_sent(asked):
                    self._progress.unsent(asked)
        return not self.resumes  # without faults it tries once; and again when something is asked


def _see_whether_it_went_well(seen: SeenRun) -> None:
    if seen.outcome == "error":
        raise TargetError(seen.error, "the run ended with an error", definite=False)
