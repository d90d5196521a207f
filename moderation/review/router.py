"""All routes of the desk: the API at `/v1/review`, the pages at `/review`."""

from fastapi import APIRouter

from moderation.review import api_audit, audit_view

router = APIRouter()
router.include_router(api_audit.router)
router.include_router(audit_view.router)
