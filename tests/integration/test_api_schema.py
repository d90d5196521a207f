"""The API keeps what its OpenAPI document promises, whatever is thrown at it."""

import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance

from tests.conftest import Api


def test_generated_requests_never_break_it(api: Api) -> None:
    """Generated requests get a documented status and never a server error."""
    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.label for operation in operations} >= {
        "POST /v1/submissions",
        "POST /v1/submissions/batch",
        "GET /v1/submissions/{submission_id}",
    }
    for operation in operations:

        @settings(
            max_examples=15,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def conforms(case: schemathesis.Case) -> None:
            case.call_and_validate(
                headers={"Authorization": api.http.headers["Authorization"]},
                checks=[not_a_server_error, status_code_conformance],
                timeout=30,
            )

        conforms()
