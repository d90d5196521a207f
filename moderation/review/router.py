"""All routes of the desk: the API at `/v1/review`, the pages at `/review`."""

from fastapi import APIRouter

from moderation.review import (
    api_agreement,
    api_audit,
    api_case_list,
    api_cases,
    api_claims,
    api_dashboard,
    api_decisions,
    api_golden,
    api_images,
    api_quality,
    api_reasons,
    api_session,
    api_users,
    api_webhooks,
    audit_view,
    dashboard,
    golden_view,
    grid,
    login,
    login_oidc,
    people_view,
    policies_view,
    settings_view,
    views,
    webhook_views,
)

router = APIRouter()
router.include_router(api_audit.router)
router.include_router(audit_view.router)
router.include_router(api_session.router)
router.include_router(login.router)
router.include_router(api_claims.router)
router.include_router(api_decisions.router)
router.include_router(api_cases.router)
router.include_router(api_images.router)
router.include_router(api_webhooks.router)
router.include_router(webhook_views.router)
router.include_router(views.router)
router.include_router(api_case_list.router)
router.include_router(grid.router)
router.include_router(api_agreement.router)
router.include_router(api_golden.router)
router.include_router(api_reasons.router)
router.include_router(golden_view.router)
router.include_router(policies_view.router)
router.include_router(api_users.router)
router.include_router(settings_view.router)
router.include_router(people_view.router)
router.include_router(api_dashboard.router)
router.include_router(api_quality.router)
router.include_router(dashboard.router)
router.include_router(login_oidc.router)
