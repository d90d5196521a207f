"""Fetched files are kept until their verdict is stored, and never too many of them."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from workers.kept import KeptFiles

IDS = [UUID(int=n) for n in range(6)]


def test_a_file_stays_until_it_is_dropped() -> None:
    """Whoever could not copy it tries again with the same file."""
    kept = KeptFiles()
    kept.keep(IDS[0], b"one")
    kept.keep(IDS[1], b"two")
    kept.drop([IDS[1], IDS[2]])
    assert [kept.find(id_) for id_ in IDS[:2]] == [b"one", None]
    assert kept.find(IDS[0]) == b"one"
    kept.drop([IDS[0]])
    assert kept.find(IDS[0]) is None


def test_the_oldest_give_way() -> None:
    """A file that alone is too large is not kept either."""
    kept = KeptFiles(max_bytes=10)
    for id_, data in zip(IDS, (b"1" * 4, b"2" * 4, b"3" * 4), strict=False):
        kept.keep(id_, data)
    assert [kept.find(id_) for id_ in IDS[:3]] == [None, b"2222", b"3333"]
    kept.drop(IDS[:3])
    kept.keep(IDS[3], b"4" * 11)
    assert kept.find(IDS[3]) is None


@given(
    st.lists(
        st.tuples(st.sampled_from(("keep", "drop", "find")), st.sampled_from(IDS), st.binary())
    )
)
def test_it_never_hands_on_another_file_nor_holds_too_much(
    steps: list[tuple[str, UUID, bytes]],
) -> None:
    """Whatever the order of things."""
    kept, last = KeptFiles(max_bytes=20), dict[UUID, bytes]()
    for step, id_, data in steps:
        if step == "keep":
            kept.keep(id_, data)
            last[id_] = data
        elif step == "drop":
            kept.drop([id_])
            last.pop(id_, None)
        else:
            assert kept.find(id_) in (last.get(id_), None)
    held = {id_: found for id_ in IDS if (found := kept.find(id_)) is not None}
    assert held.items() <= last.items()
    assert sum(map(len, held.values())) <= 20
