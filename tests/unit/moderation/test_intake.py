"""What platforms may hand in, and how what is wrong with it is said."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from moderation.errors import InputRefused
from moderation.intake import (
    DEFAULT_POLICY,
    MAX_NAME_CHARS,
    BatchIn,
    RefusedItem,
    SubmissionIn,
    describe,
    parse_message,
)
from moderation.queue import MAX_ITEMS
from moderation.types import ImageRef, NewSubmission

URL = "https://example.com/dog.jpg"
BLOB = "0123456789abcdef" * 4
BASE64 = base64.b64encode(b"a picture").decode()
CONTEXT = {"max_caption_chars": 10_000, "allow_private": False}
ONE = {"caption": "a dog", "image_url": URL}


def _problem(document: Any, **context: Any) -> str:
    """Return what is said of a document that must be refused."""
    with pytest.raises(ValidationError) as caught:
        SubmissionIn.model_validate(document, context=CONTEXT | context)
    return describe(caught.value)


def _parse(document: Any) -> tuple[list[NewSubmission], list[RefusedItem]]:
    return parse_message(document, message_id="message-1", context=CONTEXT)


@pytest.mark.parametrize(
    ("given_as", "image"),
    [
        ({"image_url": URL}, ImageRef(url=URL)),
        ({"image_blob": BLOB}, ImageRef(blob=BLOB)),
    ],
)
def test_a_submission_names_its_image(given_as: dict[str, str], image: ImageRef) -> None:
    """A URL or a blob is taken as it is, with the defaults for what was not given."""
    submission = SubmissionIn.model_validate({"caption": "a dog", **given_as}, context=CONTEXT)
    assert submission.to_new("shop") == NewSubmission(
        platform="shop", external_id=None, policy=DEFAULT_POLICY, caption="a dog", image=image
    )


def test_an_image_in_base64_goes_where_it_was_put() -> None:
    """Bytes come out of base64 unchanged, and the submission refers to their blob."""
    submission = SubmissionIn.model_validate({"caption": "a dog", "image_base64": BASE64})
    assert submission.image_base64 == b"a picture"
    assert submission.to_new("shop", blob=BLOB).image == ImageRef(blob=BLOB)


@pytest.mark.parametrize(
    "images",
    [
        {},
        {"image_url": None, "image_blob": None, "image_base64": None},
        {"image_url": URL, "image_blob": BLOB},
        {"image_url": URL, "image_base64": BASE64},
        {"image_blob": BLOB, "image_base64": BASE64},
        {"image_url": URL, "image_blob": BLOB, "image_base64": BASE64},
    ],
)
def test_exactly_one_image_is_given(images: dict[str, Any]) -> None:
    """No image or several are refused, with the three names to choose from."""
    problem = _problem({"caption": "a dog", **images})
    assert "exactly one of image_url, image_base64 and image_blob" in problem


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": "x"}, "title"),
        ({"image": URL}, "image"),
        ({"label": "match"}, "label"),
        ({"caption": None}, "caption"),
        ({"caption": 7}, "caption"),
        ({"caption": ["a dog"]}, "caption"),
        ({"caption": "a \x00 dog"}, "caption"),
        ({"caption": "half a pair: \ud83d"}, "caption"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": 7}, "external_id"),
        ({"external_id": "x" * (MAX_NAME_CHARS + 1)}, "external_id"),
        ({"external_id": "a\x00"}, "external_id"),
        ({"policy": ""}, "policy"),
        ({"policy": None}, "policy"),
        ({"policy": "a\x00"}, "policy"),
        ({"policy": "x" * (MAX_NAME_CHARS + 1)}, "policy"),
        ({"image_url": ""}, "image_url"),
        ({"image_url": "dog.jpg"}, "image_url"),
        ({"image_url": "//example.com/dog.jpg"}, "image_url"),
        ({"image_url": "https://"}, "image_url"),
        ({"image_url": "https:///dog.jpg"}, "image_url"),
        ({"image_url": "ftp://example.com/dog.jpg"}, "image_url"),
        ({"image_url": "file:///etc/hostname"}, "image_url"),
        ({"image_url": "https://example.com/a dog.jpg"}, "image_url"),
        ({"image_url": "https://example.com/\x00"}, "image_url"),
        ({"image_url": "https://example.com:99999/"}, "image_url"),
        ({"image_url": "https://user:secret@example.com/"}, "image_url"),
        ({"image_url": "http://127.0.0.1/dog.jpg"}, "image_url"),
        ({"image_url": "http://[::1]/dog.jpg"}, "image_url"),
        ({"image_url": f"https://example.com/{'x' * 2048}"}, "image_url"),
        ({"image_url": None, "image_blob": BLOB[:-1]}, "image_blob"),
        ({"image_url": None, "image_blob": BLOB.upper()}, "image_blob"),
        ({"image_url": None, "image_blob": f"{BLOB}\n"}, "image_blob"),
        ({"image_url": None, "image_blob": f"../{BLOB[3:]}"}, "image_blob"),
        ({"image_url": None, "image_base64": "a"}, "image_base64"),
        ({"image_url": None, "image_base64": 7}, "image_base64"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], field: str) -> None:
    """A wrong field is refused and the message begins with its name."""
    assert _problem(ONE | change).startswith(f"{field}: ")


@pytest.mark.parametrize("document", [None, 7, "a dog", [], [ONE], True])
def test_what_is_no_object_is_refused(document: Any) -> None:
    """A submission is a JSON object; the message says so of the submission as a whole."""
    assert _problem(document).startswith("submission: ")


def test_several_problems_are_all_said() -> None:
    """A caller reads everything that is wrong at once."""
    problem = _problem({"caption": 7, "image_url": "dog.jpg", "title": "x"})
    assert all(f"{name}: " in problem for name in ("caption", "image_url", "title"))


@pytest.mark.parametrize(
    ("length", "limit", "is_taken"),
    [(5, 5, True), (6, 5, False), (10_000, 10_000, True), (10_001, 10_000, False)],
)
def test_captions_have_a_limit(length: int, limit: int, is_taken: bool) -> None:
    """The limit comes with the context; a caption exactly as long is taken."""
    document = ONE | {"caption": "x" * length}
    if is_taken:
        taken = SubmissionIn.model_validate(document, context={"max_caption_chars": limit})
        assert len(taken.caption) == length
    else:
        assert f"at most {limit} characters, has {length}" in _problem(
            document, max_caption_chars=limit
        )


@pytest.mark.parametrize(
    "caption", ["", "  two  spaces ", "zero\u200bwidth", "🐕‍🦺", "line\nbreak"]
)
def test_captions_are_kept_as_they_are(caption: str) -> None:
    """Nothing is stripped or normalised, and an empty caption is for the pipeline to judge."""
    assert SubmissionIn.model_validate(ONE | {"caption": caption}).caption == caption


def test_private_addresses_are_taken_where_the_operator_says_so() -> None:
    """With `allow_private` a loopback URL is as good as any."""
    document = ONE | {"image_url": "http://127.0.0.1:8000/dog.jpg"}
    SubmissionIn.model_validate(document, context=CONTEXT | {"allow_private": True})


@pytest.mark.parametrize(
    ("count", "is_taken"), [(0, False), (1, True), (MAX_ITEMS, True), (MAX_ITEMS + 1, False)]
)
def test_batches_have_a_size(count: int, is_taken: bool) -> None:
    """A batch carries 1 to 256 submissions, since it travels as one message."""
    document = {"submissions": [ONE] * count}
    if is_taken:
        assert len(BatchIn.model_validate(document, context=CONTEXT).submissions) == count
    else:
        with pytest.raises(ValidationError, match="submissions"):
            BatchIn.model_validate(document, context=CONTEXT)


def test_a_wrong_item_of_a_batch_is_named_by_its_place() -> None:
    """The message says which submission of the batch is wrong, and where."""
    with pytest.raises(ValidationError) as caught:
        BatchIn.model_validate({"submissions": [ONE, ONE | {"caption": 7}]}, context=CONTEXT)
    assert describe(caught.value).startswith("submissions.1.caption: ")


@pytest.mark.parametrize(
    ("document", "captions", "platform"),
    [
        (ONE, ["a dog"], "default"),
        (ONE | {"platform": "shop"}, ["a dog"], "shop"),
        ([ONE, ONE | {"caption": "a cat"}], ["a dog", "a cat"], "default"),
        ({"submissions": [ONE]}, ["a dog"], "default"),
        ({"submissions": [ONE, ONE], "platform": "shop"}, ["a dog", "a dog"], "shop"),
    ],
)
def test_a_message_is_one_submission_or_a_batch(
    document: Any, captions: list[str], platform: str
) -> None:
    """A message holds what the API takes, one or several, and may name the platform."""
    taken, refused = _parse(document)
    assert [new.caption for new in taken] == captions
    assert {new.platform for new in taken} == {platform}
    assert refused == []


def test_ids_that_a_platform_gave_are_kept() -> None:
    """An external id of the platform's own is never replaced."""
    taken, _ = _parse([ONE | {"external_id": "post-7"}])
    assert taken[0].external_id == "post-7"


def test_a_message_delivered_twice_gives_the_same_ids() -> None:
    """Missing ids follow from the message's id and the place in it, and differ between items."""
    document = [ONE, ONE | {"external_id": "post-7"}, {"caption": 7}, ONE]
    first, second = _parse(document)[0], _parse(document)[0]
    assert first == second
    ids = [new.external_id for new in first]
    assert len(set(ids)) == 3
    assert ids[0] is not None
    assert ids[0].startswith("message-1")
    other, _ = parse_message(document, message_id="message-2", context=CONTEXT)
    assert other[0].external_id != ids[0]


def test_messages_carry_no_images() -> None:
    """Base64 in a message is refused with what to do instead; its neighbours are taken."""
    inline = {"caption": "a cat", "image_base64": BASE64}
    taken, refused = _parse([ONE, inline, ONE | {"image_url": None, "image_blob": BLOB}])
    assert [new.image for new in taken] == [ImageRef(url=URL), ImageRef(blob=BLOB)]
    assert [item.body for item in refused] == [inline]
    assert "image_blob" in refused[0].problem


def test_a_wrong_item_harms_no_neighbour() -> None:
    """What is wrong is kept as it came, with its problem; the rest is taken."""
    wrong: list[Any] = [None, "x", {"caption": "a cat"}, ONE | {"image_url": "ftp://example.com"}]
    taken, refused = _parse([wrong[0], ONE, wrong[1], wrong[2], ONE, wrong[3]])
    assert len(taken) == 2
    assert [item.body for item in refused] == wrong
    assert all(item.problem for item in refused)


@pytest.mark.parametrize(
    "platform", ["", 7, None, [], "x" * (MAX_NAME_CHARS + 1), "a\x00", "\ud83d"]
)
def test_a_wrong_platform_refuses_the_message(platform: Any) -> None:
    """Whose posts these are must be storable text; else the whole message is refused."""
    document = {"submissions": [ONE], "platform": platform}
    taken, refused = _parse(document)
    assert taken == []
    assert [item.body for item in refused] == [document]
    assert refused[0].problem.startswith("platform: ")


@pytest.mark.parametrize("items", [[], [ONE] * (MAX_ITEMS + 1), "x", 7, {"caption": "a dog"}])
def test_a_wrong_list_refuses_the_message(items: Any) -> None:
    """What is no list of 1 to 256 is refused as a whole."""
    taken, refused = _parse({"submissions": items})
    assert taken == []
    assert len(refused) == 1
    assert refused[0].problem.startswith("submissions: ")


# What json.loads gives: also NaN, and halves of surrogate pairs, which it does not mind.
TEXTS = st.text(st.characters(), max_size=20) | st.sampled_from(
    ["\x00", "\ud83d", "a\x00b", "default", "a dog", URL, BLOB, BASE64]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [*SubmissionIn.model_fields, "platform", "submissions", "a\x00b", "\ud83d"]
)
ITEMS = st.dictionaries(FIELDS, SCALARS, max_size=5).map(lambda some: ONE | some) | JSON
DOCUMENTS = (
    JSON
    | ITEMS
    | st.lists(ITEMS, max_size=5)
    | st.fixed_dictionaries(
        {"submissions": st.lists(ITEMS, max_size=5)}, optional={"platform": JSON}
    )
)


def _assert_storable(text: str | None) -> None:
    if text is not None:
        assert "\x00" not in text
        text.encode()


@given(DOCUMENTS)
def test_no_message_breaks_the_reader(document: Any) -> None:
    """Whatever JSON comes, each item is taken or refused, and its words can be stored."""
    json.dumps(document)
    taken, refused = _parse(document)
    items = document if isinstance(document, list) else [document]
    if isinstance(document, dict) and isinstance(document.get("submissions"), list):
        items = document["submissions"]
    assert len(taken) + len(refused) in (len(items), 1)
    assert taken or refused
    for new in taken:
        for text in (new.platform, new.external_id, new.policy, new.caption, new.image.url):
            _assert_storable(text)
    for item in refused:
        assert item.problem
        _assert_storable(item.problem)


@given(DOCUMENTS)
def test_reading_is_deterministic(document: Any) -> None:
    """The same message reads the same, so that a second delivery makes nothing new."""
    assert _parse(document)[0] == _parse(document)[0]


def test_refusals_of_our_own_are_described_as_they_are() -> None:
    """An `InputRefused` says what it says."""
    assert describe(InputRefused("the image is too large")) == "the image is too large"
