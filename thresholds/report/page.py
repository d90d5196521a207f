"""Puts the report together: one HTML file that loads nothing from elsewhere and runs no script."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from thresholds.artifact import Artifact
from thresholds.report import pictures, words
from thresholds.report.figures import MOST_MISTAKES, Figures, Kind, Mistake

# Longer captions are cut: what is wrong with a post shows long before.
_MAX_CAPTION_CHARS = 200
# Of a class; below, intervals are so wide that they are the message.
_FEW_LABELS = 100

_HOW = {
    "histogram": (
        "Each bar is the share of its class that got about this score: matches above, "
        "mismatches below. The line is the threshold: all that lies left of it is flagged. Bars in "
        "full colour are the mistakes, matches that are flagged and mismatches that pass. The "
        "scale of scores is uneven because it follows the raw cosine that the model computes, "
        "given below it: near 0 and 1, scores lie close together."
    ),
    "precision_recall": (
        "Each point of the curve is a threshold that could be set. Further right it finds more of "
        "the mismatches (recall), further up more of its flags are right (precision); the upper "
        "right corner would be perfect. The dot is the threshold in use. Its whiskers say how far "
        "chance may have moved it, given how few pairs were labelled. The dashed line is what "
        "flagging posts at random would give."
    ),
    "reliability": (
        "Of pairs that score near 0.8, eight in ten should match if matches and mismatches were "
        "equally frequent. Each dot is a tenth of the pairs, counted as if both were, from the "
        "lowest scores to the highest. On the dashed line scores keep that promise; below it they "
        "trust captions too much, above it too little. The bars below count pairs: where there are "
        "none, nothing is known."
    ),
    "cost": (
        "Further right, more mismatches are found; further up, more posts have to be looked at. "
        "The lower area are reviews that find a mismatch, the upper one reviews of posts that "
        "were fine. Where the curve turns steep, each further mismatch costs many reviews in vain."
    ),
    "kinds": (
        "A caption may be wrong in many ways, and an average hides the ways that get through. Each "
        "row is a kind, its dot the share of it that is flagged, its bar the 95 % interval: for "
        "mismatches further right is better, for matches further left. AUC says how well scores "
        "rank that kind apart from the other class, whatever the threshold: 1 is perfect, 0.5 is "
        "chance."
    ),
    "mistakes": (
        "The pairs that the score is most wrong about, the worst first. Look for labels that are "
        "wrong themselves, and for what many of them share: that is what the model cannot see."
    ),
}

_GLOSSARY = (
    ("Match, mismatch", "A post whose caption fits its image, and one whose caption does not."),
    (
        "Match score",
        (
            "From 0 to 1: how likely the pair is a match if half of all pairs were. It is computed "
            "from the model's raw cosine, which means something else on every model."
        ),
    ),
    (
        "Threshold",
        "Posts that score below it are flagged, which means that a person looks at them.",
    ),
    ("Recall", "Of the mismatches, the share that is flagged."),
    ("False-positive rate", "Of the matches, the share that is flagged."),
    ("Precision", "Of the flagged posts, the share that is mismatched. It depends on prevalence."),
    ("Prevalence", "Of all posts, the share that is mismatched."),
    (
        "95 % interval",
        (
            "What is measured on some labels is off by chance. Of intervals made in this way, 95 "
            "in 100 hold the true value. They know of chance only, not of labels unlike your posts."
        ),
    ),
)


def render(
    figures: Figures,
    artifact: Artifact,
    *,
    captions: Sequence[str] = (),
    thumbnails: Mapping[int, str] | None = None,
    on: date,
) -> str:
    """The page.

    `captions` are in the order of the labels, empty where there are none; `thumbnails` are
    `data:` URIs by row, None where the labels have no images at all.
    """
    says = _says(figures)
    cards = partial(_cards, captions=captions, thumbnails=thumbnails or {})
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            figures=figures,
            artifact=artifact,
            labels_name=words.shown(figures.labels_name, _MAX_CAPTION_CHARS),
            threshold=f"{figures.operating_point.threshold:g}",
            is_useless=words.is_useless(figures),
            few=_few(figures),
            prevalence=words.prevalence_says(figures),
            at_prevalence=words.at_prevalence(figures),
            unit=words.posts_unit(figures),
            tiles=words.tiles(figures),
            pictures=_draw(figures, says),
            how=_HOW,
            says=says,
            alternatives=words.alternatives(figures),
            kind_groups=_kind_groups(figures),
            has_captions=bool(captions),
            has_images=thumbnails is not None,
            passed_cards=cards(figures.passed_mismatches),
            flagged_cards=cards(figures.flagged_matches),
            passed_in_all=words.passed_in_all(figures),
            most=MOST_MISTAKES,
            flagged_in_all=words.flagged_in_all(figures),
            glossary=_GLOSSARY,
            footnote=_footnote(figures, artifact),
            date=on.isoformat(),
        )
    )


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("thresholds.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        count=words.count,
        percent=words.percent,
        percents=words.percents,
        kind_name=words.kind_name,
        place=_place,
    )
    return environment


def _says(figures: Figures) -> dict[str, str]:
    return {
        "histogram": words.histogram_says(figures),
        "precision_recall": words.precision_recall_says(figures),
        "reliability": words.reliability_says(figures),
        "cost": words.cost_says(figures),
        "kinds": words.kinds_say(figures),
    }


def _draw(figures: Figures, says: Mapping[str, str]) -> dict[str, Markup]:
    drawn = {
        "histogram": pictures.draw_histogram(figures, f"Histograms. {says['histogram']}"),
        "precision_recall": pictures.draw_precision_recall(
            figures, f"Precision over recall. {says['precision_recall']}"
        ),
        "reliability": pictures.draw_reliability(
            figures, f"Reliability diagram. {says['reliability']}"
        ),
        "cost": pictures.draw_cost(figures, f"Reviews over recall. {says['cost']}"),
    }
    # Markup of ours: what it says of strangers' words is escaped where it is drawn.
    return {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704


def _cards(
    mistakes: Sequence[Mistake], *, captions: Sequence[str], thumbnails: Mapping[int, str]
) -> list[dict[str, str | int | None]]:
    return [
        {
            "number": mistake.row + 1,
            "score": words.score_text(mistake.score),
            "kind": words.kind_name(mistake.kind) if mistake.kind else None,
            "caption": words.shown(captions[mistake.row], _MAX_CAPTION_CHARS),
            "thumbnail": thumbnails.get(mistake.row),
        }
        for mistake in mistakes
        if captions
    ]


def _kind_groups(figures: Figures) -> list[tuple[str, str, list[Kind]]]:
    return [
        (
            "Mismatches: flagged is right (recall)",
            "mismatches",
            [kind for kind in figures.kinds if not kind.is_match],
        ),
        (
            "Matches: flagged is wrong (false-positive rate)",
            "matches",
            [kind for kind in figures.kinds if kind.is_match],
        ),
    ]


def _few(figures: Figures) -> str:
    least = min(figures.labels.matches, figures.labels.mismatches)
    if least >= _FEW_LABELS:
        return ""
    return (
        f"All of it rests on {figures.labels.matches} matches and {figures.labels.mismatches} "
        "mismatches."
    )


def _place(share: float) -> float:
    """Where a share lies on a strip, in percent; the ends leave room for the dot."""
    return round(2 + 96 * share, 2)


def _footnote(figures: Figures, artifact: Artifact) -> str:
    return (
        "Shares have Wilson's interval, with pairs of one image counted for what they tell "
        "together; precision and reviews have limits from both shares (Donner and Zou). Which "
        f"images are set aside follows from their name and the seed {artifact.seed}. Weights of "
        f"the model: SHA-256 {artifact.weights_sha256[:16]}…; calibrated with "
        + ", ".join(f"{name} {version}" for name, version in sorted(artifact.versions.items()))
        + "."
    )
