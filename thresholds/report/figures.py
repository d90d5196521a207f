"""The figures behind the report: what `--json` prints, and what every picture is drawn from."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from thresholds.artifact import Interval

# Of a kind, in figures and as pictures.
MOST_MISTAKES = 12

PrevalenceSource = Literal["given", "choice", "labels"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Point(_Frozen):
    """What would happen if match scores below `threshold` were flagged."""

    threshold: float
    recall: float = Field(description="share of mismatches flagged")
    false_positive_rate: float = Field(description="share of matches flagged")
    precision: float | None = Field(
        description="share of flags that are mismatches, at the prevalence; None without flags"
    )
    reviews: float = Field(description="flags, of as many posts as `Figures.posts` says")


class OperatingPoint(_Frozen):
    """What the threshold of the calibration does, with 95 % intervals."""

    threshold: float
    cosine: float = Field(description="the raw cosine at which the match score is the threshold")
    recall: Interval
    false_positive_rate: Interval
    precision: Interval | None = Field(description="at the prevalence; None without flags")
    accuracy: Interval = Field(description="at the prevalence")
    reviews: Interval = Field(description="flags, of as many posts as `Figures.posts` says")


class AtPrevalence(_Frozen):
    """The precision of the threshold at one share of mismatches among posts."""

    prevalence: float
    precision: Interval | None = Field(description="None without flags")


class Histogram(_Frozen):
    """Share of each class in bins of the raw cosine, with the match score of each edge."""

    cosine_edges: tuple[float, ...]
    score_edges: tuple[float, ...]
    matches: tuple[float, ...]
    mismatches: tuple[float, ...]


class Group(_Frozen):
    """Pairs of about the same score, and how many of them truly match."""

    n: int
    score: float = Field(description="mean match score")
    matches: Interval = Field(description="share of matches, with both classes weighing the same")


class Reliability(_Frozen):
    """Whether a score of 0.8 means that 80 % match; see `expected_calibration_error`."""

    groups: tuple[Group, ...]
    expected_calibration_error: Interval


class Kind(_Frozen):
    """The figures of one kind of pair."""

    kind: str
    is_match: bool
    n: int
    auc: Interval | None = Field(description="of a kind of mismatches, against all matches")
    flagged: Interval = Field(description="recall of mismatches, false-positive rate of matches")


class Mistake(_Frozen):
    """A pair on the wrong side of the threshold."""

    row: int = Field(description="of the labels as they were read, from 0")
    kind: str
    cosine: float
    score: float


class Counts(_Frozen):
    """How many labels there are, of either class."""

    n: int
    matches: int
    mismatches: int


class Figures(_Frozen):
    """All figures of a report. Every precision and accuracy holds at `prevalence`."""

    model: str
    calibration: str
    labels_name: str = Field(description="where the labels come from")
    is_own_data: bool = Field(description="the labels are those of the calibration, same bytes")
    labels: Counts = Field(description="set aside for the report: all figures are of these")
    labels_in_all: Counts
    is_weighted: bool = Field(description="labels were sampled, and weigh one over how likely")
    prevalence: float
    prevalence_source: PrevalenceSource = Field(
        description="given; that of the threshold's choice; that of the labels themselves"
    )
    traffic_per_day: float | None
    posts: float = Field(description="that reviews are counted of: a day's, or 1,000")
    auc: Interval
    operating_point: OperatingPoint
    precision_by_prevalence: tuple[AtPrevalence, ...]
    curve: tuple[Point, ...] = Field(description="of all thresholds, the strictest first; thinned")
    alternatives: tuple[Point, ...] = Field(description="the cheapest way to rounder recalls")
    histogram: Histogram
    reliability: Reliability
    score_counts: tuple[int, ...] = Field(description="pairs in equal bins of the match score")
    kinds: tuple[Kind, ...]
    matches_flagged: int
    mismatches_passed: int
    flagged_matches: tuple[Mistake, ...] = Field(description="the worst; the lowest score first")
    passed_mismatches: tuple[Mistake, ...] = Field(description="the worst; the highest score first")
