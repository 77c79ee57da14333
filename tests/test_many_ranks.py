"""What many ranks come to, calculated: the sums hold where they can be done by hand."""

from __future__ import annotations

import math

import pytest

from benchmarks.many_ranks import WAYS, Network, checkpoint, fitted, seconds, step


def test_latency_and_bandwidth_are_found_again_in_what_they_make() -> None:
    made = Network(latency=2e-4, bandwidth=1e9, adding=math.inf)
    reductions = {
        str(ranks): {str(size): {"took": 1e3 * seconds("ring", ranks, size, made)} for size in (1 << 16, 1 << 25)}
        for ranks in (2, 4)
    }
    found, error = fitted(reductions, "took", "ring")
    assert found.latency == pytest.approx(made.latency)
    assert found.bandwidth == pytest.approx(made.bandwidth)
    assert error < 1e-9


def test_two_ranks_send_each_byte_once_each_way_but_for_trees() -> None:
    assert {way: messages(2, 100) for way, messages in WAYS.items()} == {
        "ring": (2, 100, 50),
        "two binary trees": (2, 200, 100),
        "in order, by halves": (2, 100, 50),
        "in order, all-to-all": (2, 100, 50),
    }


def test_a_step_is_as_long_as_its_sums_and_further_shards_make_it() -> None:
    network = Network(latency=0.0, bandwidth=1e9, adding=math.inf)
    same = step("in order, by halves", 2, 2, alone=1.0, a_shard=0.1, parameters=10**6, network=network)
    more = step("in order, by halves", 2, 8, alone=1.0, a_shard=0.1, parameters=10**6, network=network)
    assert same == 1
    assert more == pytest.approx(1 + 0.3 / (0.5 + 4e6 / 1e9))


def test_a_checkpoint_is_shared_out_among_its_ranks() -> None:
    assert checkpoint(70e9, 64, 1e9)["seconds"] == pytest.approx(13.125)
