"""What was published is kept as it was, for good."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from moderation.published import Action, State
from moderation.store import calibrations
from moderation.store.calibrations import Stored
from moderation.wiring import Services

# Keys out of order, numbers with all digits and a zero below zero: none of it may change.
ARTIFACT = '{"versions": {"zz": "1", "a": "2"}, "a": 52.91241107916147, "b": -0.0, "c": 1e-300}'


def fill(services: Services) -> None:
    """One calibration and one publication of it."""
    with services.database.begin() as connection:
        calibrations.keep(connection, Stored("c-1", "model", ARTIFACT))
        calibrations.append(
            connection,
            policy="default",
            action=Action.PUBLISH,
            state=State("c-1"),
            who="ann",
            why="a test",
        )


def test_an_artifact_comes_back_to_the_letter(services: Services) -> None:
    """Its version is a hash of what it says, which the database must not rewrite."""
    fill(services)
    with services.database.connect() as connection:
        (kept,) = calibrations.stored(connection, ["c-1", "c-2"]).values()
        assert kept == Stored("c-1", "model", ARTIFACT)
        assert calibrations.starting_with(connection, "c-") == [kept]
        assert calibrations.starting_with(connection, "c%") == []


def test_the_newest_entry_is_a_policys_state(services: Services) -> None:
    """The history keeps all entries, newest first, and each policy has the last of its own."""
    fill(services)
    with services.database.begin() as connection:
        for policy, state in (("ads", State("c-1")), ("default", State("c-1", "c-1", 0.25))):
            calibrations.append(
                connection,
                policy=policy,
                action=Action.PUBLISH,
                state=state,
                who="bob",
                why="more",
            )
    with services.database.connect() as connection:
        told = calibrations.history(connection)
        assert [entry.policy for entry in told] == ["default", "ads", "default"]
        assert calibrations.history(connection, policy="ads") == [told[1]]
        assert calibrations.current(connection) == {"ads": told[1], "default": told[0]}
        assert told[0].state == State("c-1", "c-1", 0.25)
        assert calibrations.newest_id(connection) == told[0].id


@pytest.mark.parametrize("table", ["calibrations", "publications", "decisions"])
@pytest.mark.parametrize(
    "statement", ["DELETE FROM {0}", "UPDATE {0} SET created_at = now()", "TRUNCATE {0} CASCADE"]
)
def test_the_database_itself_keeps_history(services: Services, table: str, statement: str) -> None:
    """Whoever connects, nothing published or decided can be changed or taken away."""
    fill(services)
    with (
        pytest.raises(DBAPIError, match="is append-only"),
        services.database.begin() as connection,
    ):
        connection.execute(text(statement.format(table)))


@pytest.mark.parametrize("share", [-0.1, 1.0, None])
def test_the_database_refuses_a_share_that_is_none(services: Services, share: float | None) -> None:
    """A candidate has a share from 0 up to, but without, all."""
    fill(services)
    with (
        pytest.raises(DBAPIError, match="ck_publications_candidate_share"),
        services.database.begin() as connection,
    ):
        calibrations.append(
            connection,
            policy="ads",
            action=Action.PUBLISH,
            state=State(None, "c-1", share),
            who="ann",
            why="a test",
        )
