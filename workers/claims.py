"""What messages carry, leased and sent on its way, many messages at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from moderation.batching import Stage
from moderation.store import submissions
from moderation.store.direct import KeptConnection
from moderation.store.submissions import Wanted
from moderation.types import Submission
from moderation.wiring import Services
from workers.journey import Carrier, Journey
from workers.prepare import Preparation
from workers.published import Calibrations
from workers.recovery import until_database_answers

_MOST_MESSAGES = 64


@dataclass(frozen=True, slots=True)
class _Taken:
    """A message, and what tells the thread that has it when it is worked off."""

    wanted: Wanted
    carrier: Carrier


class Claims:
    """Leases what messages carry, on one thread of its own, and has it prepared.

    What came while it leased the messages before is leased together, and goes on together.
    """

    def __init__(
        self,
        services: Services,
        calibrations: Calibrations,
        worker_id: UUID,
        preparation: Preparation,
    ) -> None:
        self._lease_s = services.settings.lease_s
        self._calibrations = calibrations
        self._worker_id = worker_id
        self._preparation = preparation
        self._kept = KeptConnection(services.database)
        self._stage: Stage[_Taken] = Stage(
            self._work_off,
            max_items=_MOST_MESSAGES,
            name="captionguard-claim",
        )

    def take(self, wanted: Wanted) -> Carrier:
        """Have what a message carries leased, scored and judged; wait for its carrier."""
        carrier = Carrier()
        self._stage.submit([_Taken(wanted, carrier)])
        return carrier

    def close(self) -> None:
        """Finish what has come in, then stop."""
        self._stage.close()
        self._kept.close()

    def _work_off(self, messages: Sequence[_Taken]) -> None:
        try:
            self._send_on(messages, until_database_answers(lambda: self._lease(messages)))
        except BaseException as error:
            # Whoever has the message sends it again, or has it sent. Of what is under way by then
            # the first verdict counts, as of all that comes twice.
            for message in messages:
                message.carrier.give_up(error)

    def _send_on(self, messages: Sequence[_Taken], leased: dict[str, list[Submission]]) -> None:
        # Whatever is published meanwhile, what was leased together is judged by the same.
        published = self._calibrations.current
        journeys: list[Journey] = []
        for message in messages:
            # A message that came twice in one batch claims once.
            its = leased.pop(message.wanted.message_id, [])
            message.carrier.expect(len(its))
            journeys += [Journey(submission, message.carrier, published) for submission in its]
        self._preparation.begin(journeys)

    def _lease(self, messages: Sequence[_Taken]) -> dict[str, list[Submission]]:
        with self._kept.autocommit() as connection:
            return submissions.claim(
                connection,
                [message.wanted for message in messages],
                worker=self._worker_id,
                lease_s=self._lease_s,
            )
