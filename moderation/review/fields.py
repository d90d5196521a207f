"""Query parameters that pages' forms share with the API: left empty in a form means not given."""

from typing import Annotated

from pydantic import BeforeValidator, StringConstraints

# Forms send what was left empty as an empty text.
EmptyIsNone = BeforeValidator(lambda value: None if value == "" else value)
# PostgreSQL's texts hold no NUL.
OptionalText = Annotated[
    Annotated[str, StringConstraints(max_length=300, pattern=r"^[^\x00]*$")] | None, EmptyIsNone
]
