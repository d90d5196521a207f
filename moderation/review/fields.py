"""Query parameters that pages' forms share with the API: left empty in a form means not given."""

from typing import Annotated

from pydantic import BeforeValidator, StringConstraints

from moderation.intake import Storable

# Forms send what was left empty as an empty text.
EmptyIsNone = BeforeValidator(lambda value: None if value == "" else value)
OptionalText = Annotated[
    Annotated[str, StringConstraints(max_length=300), Storable] | None, EmptyIsNone
]
