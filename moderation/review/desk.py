"""The desk: everything that people do with cases, each in one transaction.

The API and the pages stand on this alone. What cannot be done raises `DeskRefused`, `NoSuchThing`
or `InputRefused`, and changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from moderation.review import claiming, deciding, passing_on, showing, undoing
from moderation.review.claiming import Reviewer
from moderation.review.deciding import Made, Said, Together
from moderation.review.documents import CaseOut
from moderation.review.undoing import Undone
from moderation.store import case_states, desk_figures
from moderation.store.claims import Claim
from moderation.store.desk_figures import Counted
from moderation.wiring import Services


class Desk:
    """What a reviewer can do."""

    def __init__(self, services: Services) -> None:
        self._settings = services.settings
        self._database = services.database
        self._metrics = services.metrics.review

    def next_case(self, reviewer: Reviewer, policy: str | None = None) -> CaseOut | None:
        """The next case under a claim of its own; None when nothing waits for this person."""
        with self._database.begin() as connection:
            claim = claiming.next_case(connection, self._settings, reviewer, policy)
            if claim is None:
                return None
            return self._shown(connection, reviewer, claim.case_id, claim)

    def take(self, reviewer: Reviewer, case_id: UUID) -> CaseOut:
        """A certain case, under a claim."""
        with self._database.begin() as connection:
            claim = claiming.take(connection, self._settings, reviewer, case_id)
            return self._shown(connection, reviewer, case_id, claim)

    def heartbeat(self, reviewer: Reviewer, claim: UUID) -> datetime:
        """Keep a claim; until when it lasts now."""
        with self._database.begin() as connection:
            return claiming.heartbeat(connection, self._settings, reviewer, claim)

    def release(self, reviewer: Reviewer, claim: UUID) -> None:
        """Give a case back."""
        with self._database.begin() as connection:
            claiming.release(connection, reviewer, claim)

    def skip(self, reviewer: Reviewer, claim: UUID) -> None:
        """Pass a case over, for good."""
        with self._database.begin() as connection:
            passing_on.skip(connection, reviewer, claim)

    def hold(self, reviewer: Reviewer, claim: UUID, note: str | None = None) -> None:
        """Lay a case aside for later."""
        with self._database.begin() as connection:
            passing_on.hold(connection, reviewer, claim, note)

    def assign(self, reviewer: Reviewer, claim: UUID, to: str, note: str | None = None) -> None:
        """Give a case to somebody."""
        with self._database.begin() as connection:
            passing_on.assign(connection, reviewer, claim, to, note)

    def decide(self, reviewer: Reviewer, claim: UUID, said: Said) -> Made:
        """Decide a claimed case."""
        with self._database.begin() as connection:
            made = deciding.decide(connection, self._settings, reviewer, claim, said)
            counted = _counted(connection, [made])
        self._metrics.count(counted)
        return made

    def decide_many(self, reviewer: Reviewer, case_ids: Sequence[UUID], said: Said) -> Together:
        """Claim and decide cases together."""
        with self._database.begin() as connection:
            done = deciding.decide_many(connection, self._settings, reviewer, case_ids, said)
            counted = _counted(connection, done.decided)
        self._metrics.count(counted)
        return done

    def undo(self, reviewer: Reviewer, decision_id: UUID) -> CaseOut:
        """Take a decision back; the case is claimed again where nobody else has it."""
        with self._database.begin() as connection:
            case_id, claim = undoing.undo(connection, self._settings, reviewer, decision_id)
            shown = self._shown(connection, reviewer, case_id, claim)
        self._metrics.undone.inc()
        return shown

    def undo_batch(self, reviewer: Reviewer, batch_id: UUID) -> Undone:
        """Take back what was decided together."""
        with self._database.begin() as connection:
            done = undoing.undo_batch(connection, self._settings, reviewer, batch_id)
        self._metrics.undone.inc(done.undone)
        return done

    def note(self, reviewer: Reviewer, case_id: UUID, text: str) -> CaseOut:
        """Write beside a case."""
        with self._database.begin() as connection:
            passing_on.add_note(connection, reviewer, case_id, text)
            return self._shown(connection, reviewer, case_id)

    def mine(self, reviewer: Reviewer) -> list[CaseOut]:
        """What this person holds, and what others assigned to them."""
        with self._database.connect() as connection:
            kept = case_states.kept_for(connection, reviewer.user.name)
            return showing.show_all(connection, self._settings, reviewer, kept)

    def show(self, reviewer: Reviewer, case_id: UUID) -> CaseOut:
        """A case, without any claim."""
        with self._database.connect() as connection:
            return self._shown(connection, reviewer, case_id)

    def _shown(
        self,
        connection: Connection,
        reviewer: Reviewer,
        case_id: UUID,
        claim: Claim | None = None,
    ) -> CaseOut:
        return showing.show(connection, self._settings, reviewer, case_id, claim)


def _counted(connection: Connection, made: Sequence[Made]) -> list[Counted]:
    return desk_figures.counted(connection, [one.decision_id for one in made if one.is_new])
