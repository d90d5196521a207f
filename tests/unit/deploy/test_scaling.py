"""SCALING.md says what `deploy/scaling.py` calculates, and that calculation makes sense."""

import importlib.util
import json
import subprocess
import sys
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.deploy.files import DEPLOY

SCRIPT = DEPLOY / "scaling.py"

rates = st.floats(1, 200_000)
shares = st.floats(0, 1)
untimed = settings(deadline=None)


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_scaling", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


scaling = _load()
sites = st.sampled_from([scaling.Site(), scaling.Site(gpu_pairs_per_s=None)])


def _printed(*options: str) -> str:
    command = [sys.executable, str(SCRIPT), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("share", ["0.1", "0", "1"])
def test_the_tables_of_the_page_are_what_is_calculated(share: str) -> None:
    """Each table in SCALING.md is, letter by letter, what the command prints, in 80 columns."""
    printed = _printed("--single-share", share)
    assert f"```\n{printed}```" in (DEPLOY / "SCALING.md").read_text()
    assert max(map(len, printed.splitlines())) <= 80


def test_json_says_the_same() -> None:
    """`--json` has a plan a rate, with the part that is full first by its name."""
    plans = json.loads(_printed("--json"))
    assert [plan["posts_per_s"] for plan in plans] == list(scaling.RATES)
    for plan in plans:
        loads = {load["part"]: load["load"] for load in plan["loads"]}
        assert loads[plan["full_first"]] == max(loads.values())


@untimed
@given(rates, rates, shares, sites)
def test_more_posts_never_need_less(a: float, b: float, share: float, site: object) -> None:
    """A higher rate loads no part less, and needs no fewer of any part and no fewer cells."""
    fewer, more = (scaling.plan(rate, share, site) for rate in sorted([a, b]))
    for before, after in zip(fewer.loads, more.loads, strict=True):
        assert before.load <= after.load * (1 + 1e-9)
        assert before.needed <= after.needed
    assert fewer.cells <= more.cells


@untimed
@given(rates, shares, sites)
def test_full_first_is_the_part_with_the_highest_load(
    rate: float, share: float, site: object
) -> None:
    """No part is fuller than the one that is named, also among those that a stack has one of."""
    plan = scaling.plan(rate, share, site)
    assert all(load.load <= plan.full_first.load for load in plan.loads)
    ones = [load for load in plan.loads if not load.grows]
    assert plan.full_first_of_one in ones
    assert all(load.load <= plan.full_first_of_one.load for load in ones)


@untimed
@given(rates, shares, shares, sites)
def test_packed_posts_never_cost_more(rate: float, a: float, b: float, site: object) -> None:
    """The more posts are sent one by one, the higher the load of each part, or the same."""
    packed, single = (scaling.plan(rate, share, site) for share in sorted([a, b]))
    for before, after in zip(packed.loads, single.loads, strict=True):
        assert before.load <= after.load * (1 + 1e-9)
    assert packed.cells <= single.cells


@untimed
@given(rates, shares, sites)
def test_the_planned_number_is_not_too_busy(rate: float, share: float, site: object) -> None:
    """So many as are needed keep parts and cells below the planned load; one less does not."""
    plan = scaling.plan(rate, share, site)
    for load in plan.loads:
        assert load.load / load.needed <= scaling.PLANNED_LOAD * (1 + 1e-9)
        assert load.needed == 1 or load.load > (load.needed - 1) * scaling.PLANNED_LOAD * (1 - 1e-9)
    in_a_cell = scaling.plan(rate / plan.cells, share, site)
    assert in_a_cell.full_first_of_one.load <= scaling.PLANNED_LOAD


def test_waiting_grows_without_bound_towards_full() -> None:
    """The waits of the page: 0.9 and 1.9 service times at 65 %, 4.5 and 9 at 90 %."""
    told = [(0.65, 0.9, 1.9), (0.9, 4.5, 9.0)]
    for load, equal, varying in told:
        assert scaling.waits(load, varying=False) == pytest.approx(equal, abs=0.05)
        assert scaling.waits(load, varying=True) == pytest.approx(varying, abs=0.05)


def test_the_calculation_needs_no_model() -> None:
    """It runs where only Python is: nothing beyond the standard library is imported."""
    command = [sys.executable, "-I", "-S", str(SCRIPT), "--json"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
