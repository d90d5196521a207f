"""What the rules make of captions: grammatical, false of the picture, or nothing."""

import pytest

from tests.unit.thresholds.kinds.posts import original, world
from thresholds.kinds.kind import NotMade
from thresholds.kinds.table import BY_NAME
from thresholds.kinds.words import COLOURS

SEEDS = range(12)
MANY = ("Three", "Four", "Five", "Six")


def made(kind: str, caption: str, *more: str) -> set[str]:
    """All captions that some seeds make; a reason in angle brackets where a rule does not apply."""
    pair = original(caption, *more)
    found = set()
    for seed in SEEDS:
        try:
            found.add(BY_NAME[kind].rule(pair, world(pair, seed=seed)).caption)
        except NotMade as reason:
            found.add(f"<{reason}>")
    return found


def test_a_colour_becomes_one_that_no_caption_of_the_image_has() -> None:
    """Neither a colour of its own captions nor one that looks like it; the article fits."""
    colours = {text.split()[1] for text in made("attribute", "A blue bus.", "A bus, white top.")}
    assert colours <= set(COLOURS["blue"]) - {"white"}
    assert len(colours) > 1
    assert made("attribute", "a blue bus") >= {"an orange bus"}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a small dog", {"a huge dog"}),
        ("a wooden bench", {"a metal bench", "a glass bench", "a plastic bench"}),
        ("A LARGE DOG", {"A TINY DOG"}),
        ("the little girl", {"<no colour, size or material>"}),
        ("a black and white photo", {"<no colour, size or material>"}),
        ("a black bear", {"<no colour, size or material>"}),
        ("an orange and a banana", {"<no colour, size or material>"}),
        ("a white man", {"<no colour, size or material>"}),
        ("a glass of red wine", {"<no colour, size or material>"}),
        ("a dog", {"<no colour, size or material>"}),
    ],
)
def test_attributes_change_within_their_class(caption: str, expected: set[str]) -> None:
    """Sizes to sizes, materials to materials; no people's colours, no set phrases."""
    assert made("attribute", caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("two dogs on a beach", {f"{n} dogs on a beach" for n in ("four", "five", "six")}),
        ("there are 3 ducks", {"there are 5 ducks", "there are 6 ducks"}),
        ("A couple of cats", {"Four cats", "Five cats", "Six cats"}),
        ("A dog is here", {f"{number} dogs are here" for number in MANY}),
        ("A woman on a horse", {f"{number} women on a horse" for number in MANY}),
        ("A dog and its owner", {"<no number that can be changed>"}),
        ("A child holds a ball and smiles", {"<no number that can be changed>"}),
        ("two way street", {"<no number that can be changed>"}),
        ("dogs on a beach", {"<no number that can be changed>"}),
    ],
)  # fmt: skip
def test_a_count_changes_by_two_or_more(caption: str, expected: set[str]) -> None:
    """Noun and verb agree with the new number; where they might not, nothing is made."""
    assert made("count", caption) == expected


def test_a_count_is_left_alone_where_captions_disagree() -> None:
    """Who counts two dogs and says that there are several knows no number."""
    assert made("count", "two dogs", "several dogs") == {
        "<a caption speaks of a group or of several>"
    }
    assert "four dogs" not in made("count", "two dogs", "four dogs")
    assert made("count", "A dog on a chair", "dogs") == {"<no number that can be changed>"}


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog on a beach", {"No dog on a beach"}),
        ("There are two dogs here", {"There are no dogs here"}),
        ("THERE IS A MAN HERE", {"THERE IS NO MAN HERE"}),
        ("Dogs on a beach", {"No dogs on a beach"}),
        ("A couple of dogs", {"No dogs"}),
        ("A few dogs", {"No dogs"}),
        ("The man is riding a horse", {"The man is not riding a horse"}),
        ("the kitchen with a sink", {"the kitchen without a sink"}),
        ("many men are riding a horse", {"<no part that can be denied for sure>"}),
        ("a photo of a dog", {"<no part that can be denied for sure>"}),
        ("a dog without a collar", {"<already a negation>"}),
        ("a dog that isn't running", {"<already a negation>"}),
    ],
)
def test_what_is_there_is_denied(caption: str, expected: set[str]) -> None:
    """One thing is denied, once."""
    assert made("negation", caption) == expected


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a man rides a horse", "a horse rides a man"),
        ("A red ball above two blue boats", "Two blue boats above a red ball"),
        ("a picture of a cat on a table at night", "a picture of a table on a cat at night"),
        ("A dog is sitting on a chair.", "A chair is sitting on a dog."),
        ("a star to the left of a house", "a house to the left of a star"),
        ("a man rides two horses", None),
        ("a man next to a horse", None),
        ("a man with a horse", None),
        ("a man in front of a mirror", None),
        ("a man on his horse", None),
        ("a man on a horse and a dog", None),
        ("a man in a shirt, a tie and a hat", None),
        ("a man in front of a horse on a beach", "a horse in front of a man on a beach"),
        ("a row of men on a horse", None),
        ("a man on a horse that runs", None),
        ("a cat on a kitten", None),
    ],
)
def test_two_things_change_places(caption: str, expected: str | None) -> None:
    """Only where the other way round is something else, and grammatical."""
    reason = "<no two things around a verb or a place that could change places>"
    assert made("word_order", caption) == {expected or reason}


def test_a_name_becomes_another_of_its_sort() -> None:
    """Places become places and people people; what no list knows is left alone."""
    assert all(
        text.startswith("street signs in ") and "Detroit" not in text
        for text in made("entity", "street signs in Detroit")
    )
    people = made("entity", "Senator Angela Merkel speaks")
    assert all(text.endswith(" speaks") and "Merkel" not in text for text in people)
    assert {text.split()[0] for text in made("entity", "A German bus")} <= {"A", "An"}
    assert "An American bus" in made("entity", "A German bus") | {"An American bus"}
    assert made("entity", "a dog of Zblorgh") == {"<no name that is known>"}
    assert made("entity", "Street Signs In Detroit") == {"<capital letters do not tell names>"}


def test_a_name_that_another_caption_of_the_image_has_is_not_taken() -> None:
    """Both may be true of one picture."""
    rivers = "the Danube, the Ganges, the Mississippi, the Nile, the Rhine, the Seine"
    assert made("entity", "boats on the Thames", rivers) == {"<others might be true too>"}
