"""Golden submissions: their right answer is known, and shows how well people decide.

Nobody is to tell a golden case from any other blind one, and nothing follows from its decisions:
they are no labels, and no platform hears of them.
"""

from uuid import UUID

from sqlalchemy import Connection, select, text

from moderation.store.cases import NewCase, Route, add_cases
from moderation.store.review_tables import users

# Who has ever had a case of the submission may know its answer, and so does who added it.
_NEW_TO = text(
    """
    SELECT golden_answers.submission_id, copies.copy_blob
    FROM golden_answers
    CROSS JOIN LATERAL (
        SELECT cases.copy_blob FROM cases
        WHERE cases.submission_id = golden_answers.submission_id AND cases.copy_blob IS NOT NULL
        ORDER BY cases.created_at, cases.id LIMIT 1
    ) AS copies
    WHERE golden_answers.retired_at IS NULL AND golden_answers.added_by <> :user_name
        AND NOT EXISTS (
            SELECT FROM cases
            WHERE cases.submission_id = golden_answers.submission_id AND (
                cases.assigned_to = :user_name
                OR EXISTS (
                    SELECT FROM claims
                    WHERE claims.case_id = cases.id AND claims.user_name = :user_name
                )
                OR EXISTS (
                    SELECT FROM decisions
                    WHERE decisions.case_id = cases.id AND decisions.decided_by = :user_name
                )
            )
        )
    ORDER BY golden_answers.submission_id
    """
)


def draw(connection: Connection, user_name: str, share: float, u: float) -> UUID | None:
    """Open a golden case for somebody in a `share` of draws; its id, None in the others.

    `u` is uniform in [0, 1): below `share` it also says which of the golden submissions that are
    new to this person it is. None as well where none is left. The case is blind and assigned to
    them.
    """
    if u >= share:
        return None
    # Two tabs of one person draw one after the other, or both would get the same one.
    connection.execute(
        select(users.c.name).where(users.c.name == user_name).with_for_update(key_share=True)
    )
    left = connection.execute(_NEW_TO, {"user_name": user_name}).all()
    if not left:
        return None
    chosen = left[min(int(u / share * len(left)), len(left) - 1)]
    (case_id,) = add_cases(
        connection,
        [
            NewCase(
                chosen.submission_id,
                Route.GOLDEN,
                blind=True,
                assigned_to=user_name,
                copy_blob=chosen.copy_blob,
            )
        ],
    )
    return case_id
