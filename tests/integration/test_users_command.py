"""Accounts at the command line, and the one that a machine comes with."""

import json
import os
import pty
import subprocess
import sys

import pytest

from tests.conftest import Machine
from tests.integration.logging_in import PASSWORD


def test_a_command_makes_the_first_account(machine: Machine) -> None:
    """Made at the command line, printed once, felt by the desk, changed and disabled there."""
    made = machine.run("users", "add", "carl", "--role", "lead")
    password = made.stdout.strip()
    assert len(password) > 20
    assert "not shown again" in " ".join(made.stderr.split())
    login = {"name": "carl", "password": password}
    signed = machine.http.post("/v1/review/session", json=login)
    assert signed.status_code == 201
    bearer = {"Authorization": f"Bearer {signed.json()['token']}"}
    assert machine.http.get("/v1/review/session", headers=bearer).json()["role"] == "lead"
    machine.run("users", "role", "carl", "moderator")
    assert machine.http.get("/v1/review/session", headers=bearer).status_code == 401
    token = json.loads(machine.run("users", "token", "carl", "--days", "2", "--json").stdout)
    bearer = {"Authorization": f"Bearer {token['token']}"}
    assert machine.http.get("/v1/review/session", headers=bearer).json()["role"] == "moderator"
    listed = json.loads(machine.run("users", "list", "--json").stdout)
    assert password not in str(listed)
    assert token["token"] not in str(listed)
    assert next(one for one in listed if one["name"] == "carl")["disabled"] is False
    machine.run("users", "disable", "carl")
    assert machine.http.get("/v1/review/session", headers=bearer).status_code == 401
    refused = machine.run("users", "token", "carl", check=False)
    assert (refused.returncode, "users enable" in refused.stderr) == (1, True)
    machine.run("users", "enable", "carl")
    assert machine.http.post("/v1/review/session", json=login).status_code == 201
    actors = machine.query("SELECT DISTINCT actor FROM audit_log WHERE subject = 'user:carl'")
    assert [str(actor).startswith("cli:") for (actor,) in actors] == [True]


def test_a_machine_comes_with_an_account(machine: Machine) -> None:
    """`up` makes an admin on an empty database, and tells where its password is, not which."""
    password = (machine.data_dir / "desk-password").read_text().strip()
    signed = machine.http.post("/v1/review/session", json={"name": "demo", "password": password})
    bearer = {"Authorization": f"Bearer {signed.json()['token']}"}
    assert machine.http.get("/v1/review/session", headers=bearer).json()["role"] == "admin"
    told = (machine.data_dir / "up.log").read_text()
    assert "/review" in told
    assert "desk-password" in told.replace("\n", "")
    assert password not in told


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("add", "Carl"), 1, "lower-case"),
        (("add", "carl", "--role", "boss"), 2, "boss"),
        (("add", "carl", "--password-stdin"), 1, "at least 12"),
        (("add", "carl", "--password-stdin", "--no-password"), 2, "not both"),
        (("role", "ghost", "lead"), 1, "no account"),
        (("password", "ghost"), 1, "no account"),
        (("token", "ghost", "--days", "0"), 2, "days"),
    ],
)
def test_wrong_commands_say_what_is_wrong(
    machine: Machine, arguments: tuple[str, ...], status: int, says: str
) -> None:
    """A wrong name, role or password is told, and nothing is made."""
    done = machine.run("users", *arguments, check=False)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not machine.query("SELECT 1 FROM users WHERE name IN ('Carl', 'ghost')")


def test_a_password_is_asked_for_twice_on_a_terminal(machine: Machine) -> None:
    """At a terminal the password is typed, unseen, and nothing of it is printed."""
    ours, theirs = pty.openpty()
    shown = b""

    def type_after(prompt: bytes) -> None:
        nonlocal shown
        while prompt not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, f"{PASSWORD}\n".encode())

    # A session of its own: it is to ask here, not the terminal that the tests run in.
    process = subprocess.Popen(
        [sys.executable, "-m", "moderation", "users", "add", "tina"],
        env=machine.environment, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        type_after(b"Password: ")
        type_after(b"again: ")
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
        shown += os.read(ours, 1000)
        os.close(theirs)
        os.close(ours)
    assert process.returncode == 0
    assert out == b""
    assert PASSWORD.encode() not in shown
    login = {"name": "tina", "password": PASSWORD}
    assert machine.http.post("/v1/review/session", json=login).status_code == 201
