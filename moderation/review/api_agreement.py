"""`GET /v1/review/agreement`: whether people agree, and with known answers, for leads."""

from datetime import timedelta

from fastapi import APIRouter
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from moderation.api.auth import ServicesDep
from moderation.quality.agreement import (
    MIN_N,
    Accuracy,
    Agreement,
    Figure,
    accuracy,
    agreement,
    by_pair,
    share,
)
from moderation.review.auth import NOT_ALLOWED, LeadDep
from moderation.store import agreement as store

router = APIRouter(prefix="/v1/review", tags=["desk: quality"], responses=NOT_ALLOWED)

# Long enough for figures of most people, and short enough to be about how they decide now.
PERIOD = timedelta(days=90)


class FigureOut(BaseModel):
    """An estimate from `n` cases with its 95 % interval; nulls where it cannot be said."""

    n: int
    point: float | None
    lower: float | None
    upper: float | None
    has_too_few: bool = Field(description=f"n is below {MIN_N}; else nulls mean undefined")

    @classmethod
    def of(cls, figure: Figure) -> "FigureOut":
        """The document of one."""
        known = figure.interval
        return cls(
            n=figure.n,
            point=known and known.point,
            lower=known and known.lower,
            upper=known and known.upper,
            has_too_few=figure.has_too_few,
        )


class AgreementOut(BaseModel):
    """How far two answers to one case agree."""

    observed: FigureOut = Field(description="share of cases with the same clear answer")
    positive: FigureOut = Field(description="2a / (2a + b + c) for mismatch, n = a + b + c")
    kappa: FigureOut = Field(description="Cohen's kappa; undefined with one answer only")
    unclear: int = Field(description="cases with an unsure or escalated answer, in no figure")

    @classmethod
    def of(cls, found: Agreement) -> "AgreementOut":
        """The document of one."""
        return cls(
            observed=FigureOut.of(found.observed),
            positive=FigureOut.of(found.positive),
            kappa=FigureOut.of(found.kappa),
            unclear=found.unclear,
        )


class PairOut(BaseModel):
    """How far two people agree."""

    people: tuple[str, str]
    agreement: AgreementOut


class AccuracyOut(BaseModel):
    """How often somebody's clear answers to golden cases are right."""

    right: FigureOut
    sensitivity: FigureOut = Field(description="share right of the mismatches")
    specificity: FigureOut = Field(description="share right of the matches")
    unclear: int = Field(description="unsure or escalated, in no figure")

    @classmethod
    def of(cls, found: Accuracy) -> "AccuracyOut":
        """The document of one."""
        return cls(
            right=FigureOut.of(found.right),
            sensitivity=FigureOut.of(found.sensitivity),
            specificity=FigureOut.of(found.specificity),
            unclear=found.unclear,
        )


class PersonOut(BaseModel):
    """What somebody decided; golden cases are only in `golden`."""

    name: str
    decisions: int
    unsure: FigureOut = Field(description="share of the decisions that say unsure")
    golden: AccuracyOut | None


class QualityOut(BaseModel):
    """The quality of people over the last `days`."""

    days: int
    min_n: int = Field(MIN_N, description="cases that a figure needs")
    overall: AgreementOut
    pairs: list[PairOut] = Field(description="those with most cases first")
    people: list[PersonOut]


@router.get("/agreement")
def read_agreement(services: ServicesDep, session: LeadDep) -> QualityOut:
    """Agreement of people with each other and with known answers."""
    with services.database.connect() as connection:
        return agreement_view(connection)


def agreement_view(connection: Connection) -> QualityOut:
    """What `_agreement.html.j2` shows as `quality`."""
    twice = store.decided_twice(connection, PERIOD)
    pairs = [PairOut(people=p, agreement=AgreementOut.of(a)) for p, a in by_pair(twice).items()]
    golden = accuracy(store.answered_golden(connection, PERIOD))
    given = {one.name: one for one in store.given(connection, PERIOD)}
    return QualityOut(
        days=PERIOD.days,
        overall=AgreementOut.of(agreement(twice)),
        pairs=sorted(pairs, key=lambda pair: -pair.agreement.observed.n),
        people=[
            PersonOut(
                name=name,
                decisions=given[name].decisions if name in given else 0,
                unsure=FigureOut.of(
                    share(given[name].unsure, given[name].decisions) if name in given else Figure(0)
                ),
                golden=AccuracyOut.of(golden[name]) if name in golden else None,
            )
            for name in sorted(given.keys() | golden.keys())
        ],
    )
