"""compose.yaml, the image and the example environment fit each other and the settings."""

import re

import pytest

from moderation.settings import Settings
from tests.unit.deploy.files import DEPLOY, SCRAPES, SERVICES, with_defaults

OUR_ROLES = ("api", "migrate", "scheduler", "worker")


@pytest.mark.parametrize(
    "name",
    ["Dockerfile", "OPERATIONS.md", "compose.yaml", "example.env", "prometheus/prometheus.yml"],
)
def test_every_setting_that_is_named_exists(name: str) -> None:
    """A CAPTIONGUARD_ variable that a file of deploy/ names is one that Settings reads."""
    text = (DEPLOY / name).read_text()
    named = set(re.findall(r"CAPTIONGUARD_([A-Z_]*[A-Z])", text))
    assert named <= {field.upper() for field in Settings.model_fields}


def test_the_parts_of_the_product_are_there() -> None:
    """The services are ours, the two servers, Prometheus and Grafana."""
    assert set(SERVICES) == {*OUR_ROLES, "postgres", "redis", "prometheus", "grafana"}


def test_only_api_and_dashboard_are_published_and_on_loopback() -> None:
    """Unless the operator says otherwise, nothing can be reached from another machine."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert {name: [with_defaults(port) for port in ports] for name, ports in published.items()} == {
        "api": ["127.0.0.1:8080:8080"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
    assert not any("network_mode" in service for service in SERVICES.values())


def test_our_roles_run_without_rights() -> None:
    """No role can write to its image, gain privileges or run as root."""
    for role in OUR_ROLES:
        service = SERVICES[role]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert "user" not in service
    users = re.findall(r"^USER (.+)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    assert users
    assert users[-1] not in ("root", "0")


def test_the_api_and_the_workers_share_the_images() -> None:
    """Both mount one volume at the place that the blob store's default address names."""
    for role in ("api", "worker"):
        address = with_defaults(SERVICES[role]["environment"]["CAPTIONGUARD_BLOB_URL"])
        assert f"blobs:{address.removeprefix('file://')}" in SERVICES[role]["volumes"]


def test_the_roles_wait_for_the_tables() -> None:
    """What reads the tables starts after they were migrated, in one go and once."""
    for role in ("api", "worker", "scheduler"):
        needed = SERVICES[role]["depends_on"]["migrate"]["condition"]
        assert needed == "service_completed_successfully"
    assert SERVICES["migrate"]["restart"] == "no"


def test_everything_that_stays_is_watched_and_started_again() -> None:
    """A long-running service has a restart policy and a health check, the API the image's."""
    for name, service in SERVICES.items():
        if name == "migrate":
            continue
        assert service["restart"] == "unless-stopped"
        assert name == "api" or service["healthcheck"]["test"][0].startswith("CMD")
    assert "/healthz" in (DEPLOY / "Dockerfile").read_text()


def test_redis_keeps_what_it_takes() -> None:
    """Redis writes to disk, asks for a password and drops nothing when it is full."""
    script = SERVICES["redis"]["command"][-1]
    assert "appendonly yes" in script
    assert "maxmemory-policy noeviction" in script
    assert "requirepass $$REDISCLI_AUTH" in script


def test_prometheus_finds_the_ports_that_are_served() -> None:
    """Each target of Prometheus is the service and the port that its role listens on."""
    environment = SERVICES["api"]["environment"]
    targets = {
        "captionguard-api": f"api:{environment['CAPTIONGUARD_API_PORT']}",
        "captionguard-worker": f"worker:{environment['CAPTIONGUARD_METRICS_PORT']}",
        "captionguard-scheduler": f"scheduler:{environment['CAPTIONGUARD_SCHEDULER_METRICS_PORT']}",
    }
    found = {}
    for scrape in SCRAPES:
        for fixed in scrape.get("static_configs", []):
            found[scrape["job_name"]] = fixed["targets"][0]
        for names in scrape.get("dns_sd_configs", []):
            found[scrape["job_name"]] = f"{names['names'][0]}:{names['port']}"
    assert found == targets
    for role in ("worker", "scheduler"):
        address = targets[f"captionguard-{role}"].replace(role, "127.0.0.1")
        assert f"http://{address}/metrics" in SERVICES[role]["healthcheck"]["test"][-1]


def test_nobody_signs_in_to_grafana_or_changes_it() -> None:
    """So it needs no password: who sees the dashboard is a viewer, and there is no admin."""
    environment = SERVICES["grafana"]["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_AUTH_BASIC_ENABLED"] == "false"
    assert environment["GF_AUTH_DISABLE_LOGIN_FORM"] == "true"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"


def test_the_example_environment_holds_no_secret() -> None:
    """Passwords and keys of example.env are empty; each name that Compose needs is there."""
    lines = (DEPLOY / "example.env").read_text().splitlines()
    values = dict(
        line.removeprefix("#").split("=", 1) for line in lines if re.match(r"#?[A-Z_]+=", line)
    )
    secret = {name: value for name, value in values.items() if re.search("PASSWORD|KEY", name)}
    assert set(secret.values()) == {""}
    required = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    assert required <= set(secret)
