"""History: what a thread's messages say once a run has ended is what was streamed."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import ClassVar, Final, NamedTuple

import msgspec

from goldenpath.lab.canary import Canaries
from goldenpath.lab.checker import Checker
from goldenpath.lab.frames import UNREADABLE, Format, HistoryMessage
from goldenpath.lab.records import Answered, Complete, Invoke
from goldenpath.lab.stream import SeenRun, Stream

_REMEMBERED: Final = 64 * 1024 * 1024
"""How many bytes of questions and answers are remembered, about; the threads that were longest without a new one are
forgotten first, of the last one its beginning."""
_EACH: Final = 500
"""What a question and its answer take besides their characters."""
_UNCLEAR: Final = 100
"""How many threads are known of which not everything is; where there are more, no thread counts as known wholly."""
_SHOWN: Final = 60


class _Place(msgspec.Struct):
    """Whose a history says that it is."""

    thread_id: str | None = None


class _Listed(msgspec.Struct):
    thread_id: str


class _List(msgspec.Struct):
    """A list of threads, or its first page."""

    threads: list[_Listed]
    next_cursor: str | None = None


_decode_place = msgspec.json.Decoder(_Place).decode
_decode_list = msgspec.json.Decoder(_List).decode


class _Said(NamedTuple):
    """What was asked in a run that has ended, and what was answered."""

    run: str
    question: str
    answer: str

    @property
    def size(self) -> int:
        return len(self.question) + len(self.answer) + _EACH


class _Thread:
    """What has to be in a thread."""

    __slots__ = ("forgotten", "said", "size")

    def __init__(self) -> None:
        self.said: list[_Said] = []
        """In the order in which the runs ended."""
        self.forgotten = 0
        """How many there were before these."""
        self.size = 0

    def forget_half(self) -> int:
        """Forget the older half. Returns how much smaller it is."""
        half = len(self.said) // 2
        freed = sum(said.size for said in self.said[:half])
        del self.said[:half]
        self.forgotten += half
        self.size -= freed
        return freed


class History(Checker):
    """Violations: `missing` (a question, or an answer that was streamed to its end), `reordered` (an answer before
    one that ended earlier), `duplicate` (a message twice: its id, or a text with a canary), `invented` (what nobody
    asked or answered), `misplaced` (it says that it is another thread's), `unlisted` (a list of threads lacks one),
    `malformed`.

    What others wrote is found by `isolation`."""

    name: ClassVar[str] = "history"
    optional: ClassVar[bool] = True

    def __init__(self, format_: Format, canaries: Canaries) -> None:
        super().__init__()
        self._format = format_
        self._canaries = canaries
        self._asked: dict[tuple[int, str, str], str] = {}
        self._threads: OrderedDict[tuple[int, str], _Thread] = OrderedDict()
        self._size = 0
        self._unclear: set[tuple[int, str]] = set()
        """Threads of which it is not known what else may be in them."""
        self._listing: dict[int, list[str]] = {}
        """For each reading of a list the threads that have to be in it."""
        self._reading: dict[int, tuple[_Thread, int]] = {}
        """For each reading of a history of which something is known how many runs had ended when it began."""

    def invoked(self, op: Invoke) -> None:
        if op.kind == "ask":
            self._asked[op.user, op.thread, op.run] = op.text
        elif op.kind == "threads":
            self._listing[op.op] = [thread for user, thread in self._threads if user == op.user]
        elif op.kind == "history":
            thread = self._threads.get((op.user, op.thread))
            if thread is not None:
                self._reading[op.op] = thread, thread.forgotten + len(thread.said)

    def completed(self, op: Invoke, record: Complete) -> None:  # noqa: ARG002
        if self._asked.pop((op.user, op.thread, op.run), None) is not None:
            self._is_unclear((op.user, op.thread))
        self._reading.pop(op.op, None)
        self._listing.pop(op.op, None)

    def ended(self, stream: Stream, run: SeenRun, at: float) -> None:  # noqa: ARG002
        question = self._asked.pop((stream.user, stream.thread, run.run), None)
        if question is None:
            return
        if not run.whole or run.outcome != "success":
            self._is_unclear((stream.user, stream.thread))
        if not run.whole:
            return
        if run.outcome != "success" and not self._format.numbered:
            return  # only our own contract says that the text of a run that failed is kept
        key = stream.user, stream.thread
        thread = self._threads.setdefault(key, _Thread())
        self._threads.move_to_end(key)
        said = _Said(run.run, question, run.answer)
        thread.said.append(said)
        thread.size += said.size
        self._size += said.size
        while self._size > _REMEMBERED:
            if len(self._threads) > 1:
                self._size -= self._threads.popitem(last=False)[1].size
            elif freed := thread.forget_half():
                self._size -= freed
            else:
                break

    def _is_unclear(self, thread: tuple[int, str]) -> None:
        if len(self._unclear) < _UNCLEAR:
            self._unclear.add(thread)

    def answered(self, op: Invoke, record: Answered) -> None:
        if op.kind == "threads" and 200 <= record.status < 300:
            self._listed(op, record)
        if op.kind != "history" or not 200 <= record.status < 300:
            return
        self.checked += 1
        try:
            messages = self._format.messages(record.body)
        except UNREADABLE as error:
            witness = f"user {op.user}: the history of thread {op.thread!r} cannot be read: {error}"
            self._tell("malformed", op, record, witness)
            return
        self._place(op, record)
        self._find_duplicates(op, record, messages)
        self._find_invented(op, record, messages)
        thread, ended = self._reading.get(op.op, (None, 0))
        if thread is not None:
            self._find_answers(op, record, messages, thread.said[: max(0, ended - thread.forgotten)])

    def _listed(self, op: Invoke, record: Answered) -> None:
        self.checked += 1
        try:
            listed = _decode_list(record.body)
        except UNREADABLE as error:
            self._tell("malformed", op, record, f"user {op.user}: the list of their threads cannot be read: {error}")
            return
        known = {each.thread_id for each in listed.threads}
        missing = [name for name in self._listing.get(op.op, ()) if name not in known]
        if missing and (listed.next_cursor is None or not known):
            witness = f"user {op.user} finds {len(known)} of their threads listed, and not {missing[0]!r}"
            self._tell("unlisted", op, record, witness)

    def _place(self, op: Invoke, record: Answered) -> None:
        """A history that says whose it is says so rightly."""
        with suppress(*UNREADABLE):
            said = _decode_place(record.body).thread_id
            if said is not None and said != op.thread:
                witness = f"user {op.user} asked for the history of thread {op.thread!r}, and got that of {said!r}"
                self._tell("misplaced", op, record, witness)

    def _find_invented(self, op: Invoke, record: Answered, messages: Sequence[HistoryMessage]) -> None:
        """Where every run of a thread has ended well there is nothing in it but their questions and answers."""
        key = op.user, op.thread
        thread = self._threads.get(key)
        if thread is None or thread.forgotten or key in self._unclear or len(self._unclear) >= _UNCLEAR:
            return
        if any(each[:2] == key for each in self._asked):
            return
        for role, texts in (
            ("user", [said.question for said in thread.said]),
            ("assistant", [said.answer for said in thread.said]),
        ):
            for message in messages:
                text = message.text
                if message.role == role and text and not any(text in known or known in text for known in texts):
                    witness = f"user {op.user} finds what no {role} said in thread {op.thread!r}: {text[:_SHOWN]!r}"
                    self._tell("invented", op, record, witness)

    def _find_duplicates(self, op: Invoke, record: Answered, messages: Sequence[HistoryMessage]) -> None:
        ids = Counter(message.id for message in messages if message.id)
        for name, count in ids.items():
            if count > 1:
                self._tell("duplicate", op, record, f"user {op.user} finds message {name!r} {count} times")
        texts = Counter(
            (message.role, message.text) for message in messages if self._canaries.owns(op.user, message.text)
        )
        doubled = {message.id for message in messages if ids[message.id] > 1}
        for (role, text), count in texts.items():
            of_text = {message.id for message in messages if message.text == text}
            if count > 1 and not of_text & doubled:
                witness = f"user {op.user} finds what the {role} said {count} times: {text[:_SHOWN]!r}"
                self._tell("duplicate", op, record, witness)

    def _find_answers(
        self, op: Invoke, record: Answered, messages: Sequence[HistoryMessage], expected: Sequence[_Said]
    ) -> None:
        questions = [message.text for message in messages if message.role == "user"]
        said = "".join(message.text for message in messages if message.role == "assistant")
        place = 0
        for run, question, answer in expected:
            if question and not any(question in text for text in questions):
                witness = f"user {op.user} does not find what they asked in run {run!r}: {question[:_SHOWN]!r}"
                self._tell("missing", op, record, witness, run)
            found = said.find(answer, place)
            if found >= 0:
                place = found + len(answer)
            elif answer in said:
                witness = f"user {op.user} finds the answer of run {run!r} before that of a run that ended earlier"
                self._tell("reordered", op, record, witness, run)
            else:
                witness = f"user {op.user} does not find the answer of run {run!r}: {answer[:_SHOWN]!r}"
                self._tell("missing", op, record, witness, run)

    def _tell(self, kind: str, op: Invoke, record: Answered, witness: str, run: str = "") -> None:
        self.violate(kind, record.at, op.user, witness, thread=op.thread, run=run)
