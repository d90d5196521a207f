"""Webhooks at the command line, and generated requests."""

import getpass
import json

import hypothesis
import pytest
import schemathesis
from click.testing import Result
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import status_code_conformance
from typer.testing import CliRunner

from moderation.cli import app
from moderation.errors import InputRefused
from moderation.store.sessions import Kind
from moderation.store.users import Role
from moderation.wiring import Services
from tests.conftest import Api, eventually
from tests.integration.desk import signed_in
from tests.integration.platform import (
    Platform,
    Reply,
    add_endpoint,
    delivering,
    judge,
    states,
)
from tests.integration.webhooks.steps import rows


def test_the_commands(
    services: Services, platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Added, tested, listed, replayed, rotated, removed; the exit status says what failed."""
    # A command's own connections end with its process.
    monkeypatch.setattr("moderation.cli_webhooks.open_database", lambda: services.database)
    monkeypatch.setenv("CAPTIONGUARD_WEBHOOK_ALLOW_PRIVATE", "true")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["webhooks", *arguments])

    assert "No endpoint yet" in run("list").stderr
    assert "Nothing was to be told yet" in run("deliveries").stderr
    added = json.loads(run("add", "acme", platform.url, "--json").stdout)
    assert run("test", added["id"]).exit_code == 0
    assert platform.received[0].verified(added["secret"])["type"] == "ping"
    judge(services)
    platform.reply = lambda _: Reply(410)
    assert run("test", added["id"], "--json").exit_code == 1
    with delivering(services):
        eventually(lambda: states(services) == {"failed": 1})
    (listed,) = json.loads(run("list", "--json").stdout)
    assert (listed["failed"], listed["disabled_why"]) == (1, "answered 410")
    assert "secret" not in listed
    (lost,) = json.loads(run("deliveries", "--state", "failed", "--json").stdout)
    refused = run("replay", lost["id"])
    assert isinstance(refused.exception, InputRefused)
    run("enable", added["id"])
    assert run("replay").exit_code == 2
    assert run("replay", lost["id"], "--failed-since", "1h").exit_code == 2
    assert run("replay", "--failed-since", "soon").exit_code == 2
    assert run("replay", "--failed-since", "1h").exit_code == 0
    assert states(services) == {"pending": 1}
    rotated = run("rotate", added["id"])
    assert rotated.stdout.startswith("whsec_")
    assert rotated.stdout.strip() != added["secret"]
    assert run("remove", added["id"]).exit_code == 0
    assert json.loads(run("list", "--json").stdout) == []
    for people in (run("list"), run("deliveries")):
        assert people.exit_code == 0
    assert isinstance(run("remove", added["id"]).exception, InputRefused)
    actors = rows(services, "SELECT DISTINCT actor FROM audit_log WHERE action LIKE 'webhook.%'")
    assert {"actor": f"cli:{getpass.getuser()}"} in actors


def test_generated_requests_of_an_admin_never_break_it(api: Api, platform: Platform) -> None:
    """Each operation on webhooks answers with a status that its document knows."""
    add_endpoint(api.services, platform.url)
    judge(api.services)
    schema = schemathesis.openapi.from_url(f"{api.url}/openapi.json")
    operations = [
        found.ok() for found in schema.include(path_regex="webhooks").get_all_operations()
    ]
    assert len(operations) == 9
    with signed_in(api, "ada", Role.ADMIN, kind=Kind.TOKEN) as ada:
        for operation in operations:

            @hypothesis.settings(
                max_examples=15,
                deadline=None,
                database=None,
                derandomize=True,
                suppress_health_check=list(hypothesis.HealthCheck),
            )
            @hypothesis.given(case=operation.as_strategy())
            def conforms(case: schemathesis.Case) -> None:
                case.call_and_validate(
                    headers={"Authorization": ada.headers["Authorization"]},
                    checks=[not_a_server_error, status_code_conformance],
                    timeout=30,
                )

            conforms()
