"""What every `AccountStore` does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from goldenpath.runtime.interfaces import AccountStore, SessionRow, UserRow
from goldenpath.runtime.stores.database import Database
from goldenpath.runtime.stores.memory_accounts import MemoryAccounts
from goldenpath.runtime.stores.sqlite_accounts import SCHEMA, SqliteAccounts
from goldenpath.wire.ids import SessionId, UserId


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AccountStore]:
    if request.param == "memory":
        yield MemoryAccounts()
        return
    database = Database(tmp_path / "goldenpath.db", [SCHEMA])
    await database.open()
    yield SqliteAccounts(database)
    await database.close()


def user(number: int = 1, provider: str = "password", subject: str | None = None) -> UserRow:
    name = subject or f"user{number}@example.com"
    return UserRow(
        UserId(f"usr_{number}"), provider, name, name, "$argon2id$...", frozenset({"b", "a \u00e9"}), "mid", 0.1 + 0.2
    )


def session(name: str = "ses_1", created_at: float = 0.1 + 0.2, expires_at: float = 1e9) -> SessionRow:
    return SessionRow(SessionId(name), UserId("usr_1"), frozenset({"x"}), "free", created_at, 0, created_at, expires_at)


async def test_a_user_is_found_as_they_were_added(store: AccountStore) -> None:
    added = user()
    assert await store.add_user(added)
    assert await store.user(added.user_id) == added
    assert await store.user_by_subject("password", "user1@example.com") == added


async def test_a_user_may_have_no_email_no_password_and_no_permissions(store: AccountStore) -> None:
    added = UserRow(UserId("usr_1"), "https://id.example", "s", None, None, frozenset(), "free", 1.0)
    assert await store.add_user(added)
    assert await store.user(added.user_id) == added


async def test_an_unknown_user_is_none(store: AccountStore) -> None:
    await store.add_user(user())
    assert await store.user(UserId("usr_2")) is None
    assert await store.user_by_subject("password", "USER1@example.com") is None
    assert await store.user_by_subject("simulated", "user1@example.com") is None


async def test_a_subject_is_taken_once_for_each_provider(store: AccountStore) -> None:
    first = user(1, subject="ann@example.com")
    assert await store.add_user(first)
    assert not await store.add_user(user(2, subject="ann@example.com"))
    assert await store.user(UserId("usr_2")) is None
    assert await store.user_by_subject("password", "ann@example.com") == first
    assert await store.add_user(user(3, provider="simulated", subject="ann@example.com"))


async def test_of_many_who_take_a_subject_together_one_gets_it(store: AccountStore) -> None:
    added = await asyncio.gather(*(store.add_user(user(number, subject="ann@example.com")) for number in range(20)))
    assert added.count(True) == 1
    found = await store.user_by_subject("password", "ann@example.com")
    assert found is not None
    assert found.user_id == f"usr_{added.index(True)}"


async def test_a_password_hash_is_replaced_only_while_it_is_the_one_that_was_read(store: AccountStore) -> None:
    await store.add_user(user(1))
    await store.add_user(user(2))
    assert await store.set_password_hash(UserId("usr_1"), "$argon2id$...", "newer")
    assert not await store.set_password_hash(UserId("usr_1"), "$argon2id$...", "lost")
    assert not await store.set_password_hash(UserId("usr_9"), "$argon2id$...", "nobody's")
    assert await store.user(UserId("usr_1")) == msgspec.structs.replace(user(1), password_hash="newer")
    assert await store.user(UserId("usr_2")) == user(2)


async def test_a_user_without_a_password_gets_no_hash(store: AccountStore) -> None:
    await store.add_user(msgspec.structs.replace(user(), password_hash=None))
    assert not await store.set_password_hash(UserId("usr_1"), "", "newer")


async def test_a_session_is_found_as_it_was_added(store: AccountStore) -> None:
    added = session()
    await store.add_session(added)
    assert await store.session(added.session_id) == added
    assert await store.session(SessionId("ses_2")) is None


async def test_adding_a_session_again_leaves_it_as_it_is(store: AccountStore) -> None:
    await store.add_session(session())
    await store.revoke_session(SessionId("ses_1"), 5.0)
    await store.add_session(session())
    found = await store.session(SessionId("ses_1"))
    assert found is not None
    assert found.revoked_at == 5.0


async def test_rows_are_copies(store: AccountStore) -> None:
    row, account = session(), user()
    await store.add_session(row)
    await store.add_user(account)
    row.tier = account.tier = "changed"
    for _ in range(2):
        found, found_user = await store.session(row.session_id), await store.user(account.user_id)
        by_subject = await store.user_by_subject("password", account.subject)
        assert found is not None
        assert found_user is not None
        assert by_subject is not None
        assert (found.tier, found_user.tier, by_subject.tier) == ("free", "mid", "mid")
        found.tier = found_user.tier = by_subject.tier = "changed"


async def test_rotating_moves_a_session_to_the_next_generation_only(store: AccountStore) -> None:
    await store.add_session(session())
    assert await store.rotate_session(SessionId("ses_1"), 0, 10.1, 99.9)
    after = msgspec.structs.replace(session(), generation=1, rotated_at=10.1, expires_at=99.9)
    assert await store.session(SessionId("ses_1")) == after
    for generation in (0, 2, -1):
        assert not await store.rotate_session(SessionId("ses_1"), generation, 11.0, 111.0)
    assert not await store.rotate_session(SessionId("ses_2"), 0, 11.0, 111.0)
    assert await store.session(SessionId("ses_1")) == after


async def test_of_many_rotations_together_one_happens(store: AccountStore) -> None:
    await store.add_session(session())
    done = await asyncio.gather(
        *(store.rotate_session(SessionId("ses_1"), 0, float(number), 99.0) for number in range(20))
    )
    assert done.count(True) == 1
    found = await store.session(SessionId("ses_1"))
    assert found is not None
    assert (found.generation, found.rotated_at) == (1, float(done.index(True)))


async def test_a_revoked_session_does_not_rotate_and_keeps_its_first_date(store: AccountStore) -> None:
    await store.add_session(session())
    await store.revoke_session(SessionId("ses_1"), 5.5)
    await store.revoke_session(SessionId("ses_1"), 7.5)
    assert not await store.rotate_session(SessionId("ses_1"), 0, 10.0, 99.0)
    assert await store.session(SessionId("ses_1")) == msgspec.structs.replace(session(), revoked_at=5.5)


async def test_revoking_an_unknown_session_is_harmless(store: AccountStore) -> None:
    await store.revoke_session(SessionId("ses_1"), 5.0)
    assert await store.session(SessionId("ses_1")) is None
    assert list(await store.revoked_since(0.0)) == []


async def test_sessions_revoked_since_a_moment_are_listed(store: AccountStore) -> None:
    for number in range(4):
        await store.add_session(session(f"ses_{number}"))
        if number:
            await store.revoke_session(SessionId(f"ses_{number}"), number + 0.25)
    assert sorted(await store.revoked_since(2.25)) == [("ses_2", 2.25), ("ses_3", 3.25)]


async def test_expired_sessions_do_not_pile_up(store: AccountStore) -> None:
    for number in range(100):
        await store.add_session(session(f"old_{number}", created_at=0.0, expires_at=50.0))
    await store.add_session(session("living", created_at=0.0, expires_at=1000.0))
    await store.add_session(session("edge", created_at=0.0, expires_at=60.0))
    for number in range(100):
        await store.add_session(session(f"new_{number}", created_at=60.0, expires_at=1000.0))
    left = [number for number in range(100) if await store.session(SessionId(f"old_{number}"))]
    assert left == []
    for name in ("living", "edge", *(f"new_{number}" for number in range(100))):
        assert await store.session(SessionId(name)) is not None


async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    for start in range(2):
        database = Database(tmp_path / "goldenpath.db", [SCHEMA])
        await database.open()
        store = SqliteAccounts(database)
        if start == 0:
            await store.add_user(user())
            await store.add_session(session())
            await store.rotate_session(SessionId("ses_1"), 0, 10.0, 99.0)
            await store.revoke_session(SessionId("ses_1"), 11.0)
        else:
            assert await store.user(UserId("usr_1")) == user()
            assert list(await store.revoked_since(0.0)) == [("ses_1", 11.0)]
        await database.close()
