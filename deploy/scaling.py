"""What each part carries at a rate of posts, on paper: `python deploy/scaling.py [--json]`.

SCALING.md tells where the figures come from and what to do about what they say.
"""

import argparse
import json
import math
from dataclasses import asdict, dataclass

RATES = (100, 1_000, 10_000, 100_000)
PLANNED_LOAD = 0.65
_PACKED = 256
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU microseconds: so many each time, and so many more for each post in it."""

    each_us: float
    item_us: float

    def of_one(self, bundle: float) -> float:
        """Microseconds of one post that travels with `bundle - 1` others."""
        return self.each_us / bundle + self.item_us


@dataclass(frozen=True, slots=True)
class Costs:
    """Measured on two cores of a Xeon with AMX, November 2026, PostgreSQL 18.4, Redis 6.2."""

    api: Cost = Cost(4_350, 150)  # a request
    api_upload_us: float = 1_900  # a post with its image of 180 KB as base64
    accept: Cost = Cost(750, 38)  # PostgreSQL, for a request to the API
    claim: Cost = Cost(150, 45)  # PostgreSQL, for a transaction
    record: Cost = Cost(270, 35)  # PostgreSQL, for a transaction
    vacuum_us: float = 15
    wal_bytes: float = 2_450
    table_bytes: float = 800  # two rows and their indexes
    redis_message: Cost = Cost(230, 0.28)  # sent, taken and acknowledged
    upkeep_us: float = 0.7  # a scheduler's pass, for a post in workers' hands
    worker_own: Cost = Cost(2_600, 150)  # the worker's own process, for a message
    decode_us: float = 5_000  # a JPEG of 640x480, in the decoder processes
    forward_us: float = 18_500  # ViT-B-32 in bf16, of a core with AMX
    image_bytes: float = 179_000


@dataclass(frozen=True, slots=True)
class Site:
    """One of each part. All of it is assumed; `gpu_pairs_per_s` of None scores on the cores."""

    worker_cores: int = 16
    gpu_pairs_per_s: float | None = 6_000
    gpu_launch_us: float = 100  # of the worker's own process, to start a pair's kernels
    postgres_cores: int = 16
    wal_bytes_per_s: float = 300e6
    disk_bytes: float = 4e12
    retention_days: float = 30
    blob_bytes_per_s: float = 1.25e9
    scheduler_period_s: float = 1.0
    record_bundle: int = 64  # packed posts are stored so many at a time, single ones one by one
    in_hand_s: float = 1.0  # from acceptance to verdict while nothing piles up


@dataclass(frozen=True, slots=True)
class Load:
    """How busy one of a part would be; 1 is full. `grows` if one can have more of it."""

    part: str
    load: float
    grows: bool

    @property
    def needed(self) -> int:
        """How many of it keep each at the planned load."""
        return max(1, math.ceil(self.load / PLANNED_LOAD))


@dataclass(frozen=True, slots=True)
class Plan:
    """All parts at one rate; `cells` whole stacks are needed for what cannot grow."""

    posts_per_s: float
    loads: tuple[Load, ...]
    cells: int

    @property
    def full_first(self) -> Load:
        """The part with the highest load."""
        return max(self.loads, key=lambda load: load.load)

    @property
    def full_first_of_one(self) -> Load:
        """The same among the parts that a stack has one of."""
        return max((load for load in self.loads if not load.grows), key=lambda load: load.load)


def waits(load: float, *, varying: bool) -> float:
    """Mean wait in service times: M/M/1 if these vary as an exponential does, else M/D/1."""
    return load / (1 - load) / (1 if varying else 2)


def loads(posts_per_s: float, single_share: float, site: Site, costs: Costs) -> tuple[Load, ...]:
    """The load of one of each part, where packed posts name a URL and single ones are uploads."""
    single = posts_per_s * single_share
    packed = posts_per_s - single

    def cpu_s(cost: Cost, bundle: int = _PACKED) -> float:
        return (packed * cost.of_one(bundle) + single * cost.of_one(1)) / 1e6

    in_hand = posts_per_s * site.in_hand_s
    postgres_s = (
        cpu_s(costs.accept)
        + cpu_s(costs.claim)
        + cpu_s(costs.record, site.record_bundle)
        + posts_per_s * costs.vacuum_us / 1e6
    )
    upkeep_s = in_hand * costs.upkeep_us / 1e6
    own_s = cpu_s(costs.worker_own)
    work_us = costs.decode_us
    if site.gpu_pairs_per_s is None:
        work_us += costs.forward_us
    else:
        own_s += posts_per_s * site.gpu_launch_us / 1e6
    cores_s = own_s + posts_per_s * work_us / 1e6
    api_s = cpu_s(costs.api) + single * costs.api_upload_us / 1e6
    disk = posts_per_s * costs.table_bytes * _DAY_S * site.retention_days
    found = [
        Load("API", api_s, True),
        Load("Redis", cpu_s(costs.redis_message), False),
        Load("database CPU", postgres_s / site.postgres_cores, False),
        Load("database WAL", posts_per_s * costs.wal_bytes / site.wal_bytes_per_s, False),
        Load("scheduler", upkeep_s / site.scheduler_period_s, False),
        Load("disk", disk / site.disk_bytes, True),
        Load("blob store", 2 * single * costs.image_bytes / site.blob_bytes_per_s, True),
        Load("worker process", own_s, True),
        Load("worker cores", cores_s / site.worker_cores, True),
    ]
    if site.gpu_pairs_per_s is not None:
        found.append(Load("GPU", posts_per_s / site.gpu_pairs_per_s, True))
    return tuple(found)


def plan(
    posts_per_s: float,
    single_share: float = 0.1,
    site: Site = Site(),
    costs: Costs = Costs(),
) -> Plan:
    """What one stack would have to carry, and in how many cells it can be carried."""
    cells = 1
    while any(
        load.load > PLANNED_LOAD and not load.grows
        for load in loads(posts_per_s / cells, single_share, site, costs)
    ):
        cells += 1
    return Plan(posts_per_s, loads(posts_per_s, single_share, site, costs), cells)


def table(plans: list[Plan]) -> str:
    """A line a part: the load of one and, where there can be more, how many are needed."""
    head = ["posts a second", *(f"{each.posts_per_s:,.0f}" for each in plans)]
    rows = [head]
    for lines in zip(*(each.loads for each in plans), strict=True):
        cells = [f"{x.load:.2f} ({x.needed})" if x.grows else f"{x.load:.2f}    " for x in lines]
        rows.append([lines[0].part, *cells])
    rows.append(["cells", *(str(each.cells) for each in plans)])
    rows.append(["full first", *(each.full_first.part for each in plans)])
    rows.append(["of those alone", *(each.full_first_of_one.part for each in plans)])
    printed = (f"{row[0]:<16}" + "".join(f"{cell:>16}" for cell in row[1:]) for row in rows)
    return "\n".join(line.rstrip() for line in printed)


def as_json(plans: list[Plan]) -> str:
    """The same for programs."""
    names = ("full_first", "full_first_of_one")
    return json.dumps(
        [asdict(each) | {name: getattr(each, name).part for name in names} for each in plans]
    )


def main() -> None:
    """Print the plans for four rates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--single-share", type=float, default=0.1, help="posts sent one by one")
    parser.add_argument("--cpu", action="store_true", help="workers without GPUs")
    arguments = parser.parse_args()
    site = Site(gpu_pairs_per_s=None) if arguments.cpu else Site()
    plans = [plan(rate, arguments.single_share, site) for rate in RATES]
    print(as_json(plans) if arguments.json else table(plans))  # noqa: T201


if __name__ == "__main__":
    main()
