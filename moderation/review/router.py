"""All routes of the desk: the API at `/v1/review`, the pages at `/review`."""

from fastapi import APIRouter

router = APIRouter()
