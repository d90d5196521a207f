"""Who is asking: an API key, sent as a bearer token, names the platform."""

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from moderation.api import threads
from moderation.store import keys
from moderation.wiring import Services

_bearer = HTTPBearer(auto_error=False, description="an API key from `captionguard keys add`")


# Without `async` it would wait for a thread, behind all who have one.
async def services_of(request: Request) -> Services:
    """The process's services, put there by `create_app`."""
    services: Services = request.app.state.services
    return services


async def platform_of(
    services: Annotated[Services, Depends(services_of)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> str:
    """The platform that the request's key belongs to; 401 without a valid key."""
    platform = None
    if credentials is not None:
        platform = await threads.run(_look_up, services, credentials.credentials)
    if platform is None:
        raise HTTPException(
            401,
            "send `Authorization: Bearer KEY` with a key made by `captionguard keys add PLATFORM`",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return platform


def _look_up(services: Services, secret: str) -> str | None:
    with services.database.connect() as connection:
        return keys.platform_of(connection, secret)


ServicesDep = Annotated[Services, Depends(services_of)]
PlatformDep = Annotated[str, Depends(platform_of)]
