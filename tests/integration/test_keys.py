"""`captionguard keys`: made, listed and revoked at the command line, felt by the API."""

import json

from tests.conftest import Machine


def test_a_key_works_until_it_is_revoked(machine: Machine) -> None:
    """A new key opens the API for its platform; a revoked one does not."""
    made = json.loads(machine.run("keys", "add", "acme", "--json").stdout)
    headers = {"Authorization": f"Bearer {made['key']}"}
    params = {"id": "00000000-0000-7000-8000-000000000000"}
    asked = machine.http.get("/v1/submissions", params=params, headers=headers)
    assert (asked.status_code, asked.json()) == (200, {"submissions": []})
    listed = json.loads(machine.run("keys", "list", "--json").stdout)
    mine = next(key for key in listed if key["platform"] == "acme")
    assert made["key"] not in json.dumps(listed)
    assert made["key"].startswith(mine["hint"])
    machine.run("keys", "revoke", mine["id"])
    assert machine.http.get("/v1/submissions", params=params, headers=headers).status_code == 401
    again = machine.run("keys", "revoke", mine["id"], check=False)
    assert again.returncode == 1
    assert "keys list" in again.stderr


def test_a_script_can_take_the_key(machine: Machine) -> None:
    """Without --json, standard output is the key and nothing else."""
    assert machine.run("keys", "add", "acme").stdout.strip().startswith("cg_")
