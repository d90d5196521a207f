"""What people said of the flags and of the audited passes that came in a period."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from sqlalchemy import Connection, text

from moderation.curves import Floats
from moderation.store.history import Bools, Ints
from moderation.store.ingested import first_id
from moderation.store.verdict_counts import BIN_SQL, Kinds

# What stands on a submission is what `history.decided` takes: the latest clear answer that settled
# a case of it, an appeal's too; a test holds the two together. Where nothing clear was said,
# `unsure` stands.
# Planned for a row where there are a million, since PostgreSQL cannot tell how many ids a period
# has: each join is one that an index answers, and no sort leaves the order of the first index.
_REVIEWED = text(
    f"""
    WITH answered AS (
        SELECT cases.id, cases.submission_id, cases.policy, cases.route,
            cases.inclusion_probability, cases.resolution, cases.resolved_at,
            decisions.answer AS first, lead(decisions.answer) OVER in_order AS second,
            row_number() OVER in_order AS nth
        FROM cases LEFT JOIN standing_decisions AS decisions ON decisions.case_id = cases.id
        WHERE cases.submission_id >= :first AND cases.submission_id < :end
            AND cases.route IN ('flagged', 'audit', 'appeal')
        WINDOW in_order AS (
            PARTITION BY cases.submission_id, cases.id ORDER BY decisions.created_at, decisions.id
        )
    ), settled AS (
        SELECT *, first_value(nullif(resolution, 'escalate')) OVER (
            PARTITION BY submission_id
            ORDER BY array_position(ARRAY['match', 'mismatch'], resolution) IS NULL,
                resolution IS DISTINCT FROM 'unsure', resolved_at DESC, id DESC
        ) AS settled
        FROM answered WHERE nth = 1
    ), each AS (
        SELECT width_bucket(settled.submission_id, CAST(:starts AS uuid[])) - 1 AS spans,
            settled.policy, verdicts.calibration_version AS version, route = 'audit' AS audit,
            {BIN_SQL} AS bin, inclusion_probability AS probability,
            first, second, settled, count(*) AS cases
        FROM settled JOIN verdicts ON verdicts.submission_id = settled.submission_id
        WHERE (route, verdicts.outcome) IN (('flagged', 'flag'), ('audit', 'pass'))
        GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
    )
    SELECT spans,
        coalesce(array_position(CAST(:policies AS text[]), policy) - 1, :others),
        coalesce(array_position(CAST(:versions AS text[]), version) - 1, :other_versions),
        audit, bin, probability,
        coalesce(array_position(ARRAY['mismatch', 'match', 'unsure', 'escalate'], first), 0),
        coalesce(array_position(ARRAY['mismatch', 'match', 'unsure', 'escalate'], second), 0),
        coalesce(array_position(ARRAY['mismatch', 'match', 'unsure', 'escalate'], settled), 0),
        cases
    FROM each
    """  # noqa: S608 - only numbers of this package's own
)


@dataclass(frozen=True, slots=True)
class Cases:
    """Flagged and audited submissions in rows of alike ones, (n,) each; see `Counts`.

    `probabilities` are those with which they came to review; `first`, `second` and
    `settled` are of `Said`.
    A row stands for `cases` of them.
    """

    spans: Ints
    policies: Ints
    versions: Ints
    is_audit: Bools
    bins: Ints
    probabilities: Floats
    first: Ints
    second: Ints
    settled: Ints
    cases: Ints


def reviewed(
    connection: Connection, starts: Sequence[datetime], until: datetime, kinds: Kinds
) -> Cases:
    """The cases of what came in from the first of the starts, in ascending order, on.

    Golden ones are none of them, nor are appeals of what passed and was not audited: nobody
    knows with which probability they came to review.
    """
    given = {
        "starts": [first_id(start) for start in starts],
        "first": first_id(starts[0]),
        "end": first_id(until),
        **kinds.parameters(),
    }
    rows = connection.execute(_REVIEWED, given).all()
    columns = list(zip(*rows, strict=True)) or [()] * 10
    types = (np.int64,) * 3 + (np.bool_, np.int64, np.float64) + (np.int64,) * 4
    return Cases(*(np.array(c, t) for c, t in zip(columns, types, strict=True)))
