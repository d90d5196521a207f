"""One frozen `Settings`, the only reader of the environment.

Every field is set by `CAPTIONGUARD_` and its name in capitals; the README's table lists
them, and a test holds the two together.
"""

from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from moderation.errors import SetupError

Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """What an operator can set; units are in the names, defaults suit one machine."""

    model_config = SettingsConfigDict(
        env_prefix="CAPTIONGUARD_", frozen=True, extra="ignore", env_ignore_empty=True
    )

    data_dir: Path = Field(
        Path(".captionguard"),
        description="where embedded servers, blobs and addresses of one machine are kept",
    )
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL, `postgresql://user:password@host/name`; embedded if unset"
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis, `redis://:password@host:6379/0`; embedded if unset"
    )
    blob_url: str | None = Field(
        None,
        description="images, `s3://bucket/prefix`, `gs://…`, `az://…`, `file:///…`; "
        "a folder in the data directory if unset",
    )

    api_host: str = Field("127.0.0.1", description="address the API listens on")
    api_port: Port = Field(8080, description="port of the API; 0 takes a free one")
    api_url: str | None = Field(
        None, description="where the commands find the API; the data directory's, if unset"
    )
    api_key: SecretStr | None = Field(
        None, description="key the commands send; the data directory's, if unset"
    )
    metrics_host: str = Field("127.0.0.1", description="address workers show `/metrics` on")
    metrics_port: Port = Field(
        9101, description="port of a worker's `/metrics`; 0 takes a free one"
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="log lines for machines or for people"
    )

    scheduler_metrics_port: Port = Field(
        9102, description="port of the scheduler's `/metrics`; 0 takes a free one"
    )

    model: str = Field(
        "demo-tiny", description="`NAME:PRETRAINED`, `hf-hub:…`, `local-dir:…` or `NAME:random`"
    )
    calibration_file: Path | None = Field(
        None, description="the model's calibration; the bundled one for `demo-tiny`, if unset"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where CLIP runs")
    precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto", description="numbers CLIP computes with; auto takes bf16 where that is faster"
    )
    max_batch_items: PositiveInt = Field(64, description="most pairs in one forward pass")
    forward_lanes: int = Field(
        0, ge=0, description="forward passes side by side; 0 means one a core, or two on a GPU"
    )
    embedding_cache_bytes: int = Field(
        128 * 2**20, ge=0, description="memory of a worker for embeddings computed before"
    )
    embedding_cache_url: SecretStr | None = Field(
        None, description="Redis in which workers share embeddings; not the queue's; none if unset"
    )
    embedding_cache_ttl_s: PositiveFloat = Field(
        86_400.0, description="how long an embedding stays in that Redis"
    )

    message_threads: PositiveInt = Field(128, description="messages a worker handles side by side")
    fetch_threads: PositiveInt = Field(16, description="images a worker fetches side by side")
    decode_processes: int = Field(
        0, ge=0, description="sandboxed decoder processes of a worker; 0 means one a core"
    )
    decode_device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where JPEGs are decoded; auto takes a GPU where it proves faster"
    )

    max_body_bytes: PositiveInt = Field(32 * 2**20, description="largest request body, else 413")
    max_caption_chars: PositiveInt = Field(10_000, description="longest caption, else 422")
    queue_limit_items: PositiveInt = Field(
        100_000, description="submissions without a verdict before the API answers 429"
    )

    max_image_bytes: PositiveInt = Field(20 * 2**20, description="largest image file")
    max_image_pixels: PositiveInt = Field(50_000_000, description="largest image, width x height")
    decode_timeout_s: PositiveFloat = Field(10.0, description="longest time to decode an image")
    decode_memory_bytes: PositiveInt = Field(
        2 * 2**30, description="address space of one decoder process"
    )
    fetch_timeout_s: PositiveFloat = Field(15.0, description="longest time to fetch an image")
    fetch_redirects: int = Field(3, ge=0, description="redirects followed for an image")
    fetch_allow_private: bool = Field(
        False,
        description="also fetch from private and loopback addresses: for tests and closed networks",
    )

    beat_s: PositiveFloat = Field(1.0, description="how often a worker renews its leases")
    lease_s: PositiveFloat = Field(5.0, description="without a beat for so long, a worker is dead")
    lost_after_s: PositiveFloat = Field(
        3.0, description="a message nobody holds for so long is sent again"
    )
    max_attempts: PositiveInt = Field(
        6, description="tries of a submission before a temporary fault becomes `unscorable`"
    )
    retry_base_s: PositiveFloat = Field(2.0, description="first wait before a try, then doubling")
    watch_every_s: PositiveFloat = Field(
        60.0, description="how often the scheduler looks for drift, and at the rates of outcomes"
    )

    public_url: str | None = Field(
        None, description="where browsers find the desk, `https://host`; needed for single sign-on"
    )
    trusted_proxies: str | None = Field(
        None, description="addresses or networks whose `X-Forwarded-For` is believed; none if unset"
    )
    session_s: PositiveFloat = Field(
        12 * 3600.0, description="after so long everybody signs in again"
    )
    session_idle_s: PositiveFloat = Field(
        2 * 3600.0, description="without a request for so long, a browser is signed out"
    )
    login_attempts: PositiveInt = Field(
        10, description="failed log-ins in 10 minutes, of a name or an address, before 429"
    )
    oidc_issuer: str | None = Field(
        None, description="single sign-on by OpenID Connect, `https://login.example.com`"
    )
    oidc_client_id: str | None = Field(None, description="what the desk is called there")
    oidc_client_secret: SecretStr | None = Field(None, description="its secret there")
    oidc_role: Literal["moderator", "lead", "admin"] | None = Field(
        None, description="role of people who sign in so for the first time; none if unset"
    )
    review_lease_s: PositiveFloat = Field(
        120.0, description="a case whose page is gone for so long goes to somebody else"
    )
    review_undo_s: float = Field(
        10.0, ge=0, description="so long a decision can be undone, and nothing is told of it"
    )
    review_twice_share: float = Field(
        0.1, ge=0, le=1, description="of flagged cases that two people decide, blind"
    )
    review_golden_share: float = Field(
        0.03, ge=0, le=0.5, description="of cases that have a known answer, to see how people do"
    )
    audit_budget_per_day: int = Field(
        200, ge=0, description="passed submissions a day that people look at, so recall is known"
    )
    quality_lag_s: float = Field(
        86_400.0, ge=0, le=1e9, description="precision and recall are of what came in so long ago"
    )
    quality_every_s: PositiveFloat = Field(
        300.0, description="how often the scheduler estimates them anew, and plans audits"
    )
    webhook_timeout_s: PositiveFloat = Field(
        15.0, description="longest time for a platform to take a webhook"
    )
    webhook_allow_private: bool = Field(
        False, description="also call private and loopback addresses: for tests, closed networks"
    )

    @model_validator(mode="after")
    def _a_cache_apart_from_the_queue(self) -> Self:
        if self.embedding_cache_url is None:
            return self
        cache = _server(self.embedding_cache_url)
        if not cache.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError(
                "CAPTIONGUARD_EMBEDDING_CACHE_URL must look like redis://:password@host:6379/0"
            )
        if self.redis_url is not None and cache == _server(self.redis_url):
            raise ValueError(
                "CAPTIONGUARD_EMBEDDING_CACHE_URL must be another Redis than "
                "CAPTIONGUARD_REDIS_URL: a full cache would stop the queue"
            )
        return self

    @model_validator(mode="after")
    def _single_sign_on_is_whole(self) -> Self:
        if self.oidc_issuer is None:
            return self
        if self.oidc_client_id is None or self.public_url is None:
            raise ValueError(
                "CAPTIONGUARD_OIDC_ISSUER needs CAPTIONGUARD_OIDC_CLIENT_ID and "
                "CAPTIONGUARD_PUBLIC_URL, to which the provider sends people back"
            )
        issuer = urlsplit(self.oidc_issuer)
        is_here = issuer.hostname in ("localhost", "127.0.0.1", "::1")
        if issuer.scheme != "https" and not (issuer.scheme == "http" and is_here):
            raise ValueError("CAPTIONGUARD_OIDC_ISSUER must begin with https://")
        return self

    @model_validator(mode="after")
    def _leases_outlast_beats(self) -> Self:
        if 2 * self.beat_s > min(self.lease_s, self.lost_after_s):
            raise ValueError(
                "CAPTIONGUARD_BEAT_S must be at most half of CAPTIONGUARD_LEASE_S and of "
                "CAPTIONGUARD_LOST_AFTER_S, or work under way is taken for lost"
            )
        return self


def _server(url: SecretStr) -> str:
    """Scheme and address of a Redis without password and database: one server is one memory."""
    parts = urlsplit(url.get_secret_value())
    address = parts.netloc.rpartition("@")[2] or parts.path
    return f"{parts.scheme}://{address}"


def load_settings() -> Settings:
    """Read the environment; `SetupError` names each variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"CAPTIONGUARD_{str(e['loc'][0]).upper()}: {e['msg']}" if e["loc"] else e["msg"]
            for e in error.errors()
        )
        raise SetupError(f"The environment's settings are wrong. {problems}") from error
