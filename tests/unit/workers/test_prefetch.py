"""A worker takes many small messages ahead, and few that carry much."""

from hypothesis import given
from hypothesis import strategies as st
from kombu.common import QoS

from workers.prefetch import Prefetch

MOST = 128


def _steered() -> tuple[Prefetch, QoS, list[int]]:
    """A prefetch and the consumer it steers, with what the consumer was told."""
    told: list[int] = []
    qos = QoS(lambda prefetch_count: told.append(prefetch_count), MOST)
    prefetch = Prefetch(most_messages=MOST)
    prefetch.attach(qos)
    return prefetch, qos, told


def test_small_messages_are_taken_by_the_hundred() -> None:
    """Messages of one submission never close the consumer before its threads are all busy."""
    prefetch, qos, _ = _steered()
    for _ in range(MOST):
        prefetch.begin(1)
    assert qos.value == MOST


def test_packed_messages_close_the_consumer_until_there_is_room() -> None:
    """With some seconds' work taken no further message is, and with room there is again."""
    prefetch, qos, told = _steered()
    for _ in range(4):
        prefetch.begin(256)
    qos.update()
    assert told[-1] == 4, "four are held, and no fifth may be taken"
    prefetch.end(256)
    qos.update()
    assert told[-1] == MOST


def test_a_new_connection_is_steered_as_the_old_one_was() -> None:
    """After Redis was away, a worker that has enough to do still takes nothing more."""
    prefetch, _, _ = _steered()
    for _ in range(5):
        prefetch.begin(256)
    fresh = QoS(lambda prefetch_count: None, MOST)
    prefetch.attach(fresh)
    assert fresh.value == 5


def test_what_celery_adds_for_messages_with_a_time_is_left() -> None:
    """Messages that wait for their hour hold a place each, and the others keep theirs."""
    prefetch, qos, _ = _steered()
    for _ in range(MOST + 4):
        qos.increment_eventually()
    prefetch.begin(1)
    prefetch.end(1)
    assert qos.value == 2 * MOST + 4


@given(st.lists(st.integers(0, 256), max_size=60))
def test_what_was_finished_leaves_nothing_behind(sizes: list[int]) -> None:
    """Whatever was taken, when all of it is done the consumer is as open as at first."""
    prefetch, qos, _ = _steered()
    for size in sizes:
        prefetch.begin(size)
        assert 1 <= qos.value <= MOST
    for size in sizes:
        prefetch.end(size)
    assert qos.value == MOST
