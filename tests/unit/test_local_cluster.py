"""What the product asks of the devcluster."""

from __future__ import annotations

from demo.cluster import BUCKETS, IDENTITIES, IMAGES
from devcluster.s3 import check


def test_the_reader_reads_the_zoo_alone():
    assert IDENTITIES["reader"].actions() == ["Read:nasoa-system/zoo/*", "List:nasoa-system/zoo/*"]


def test_the_store_takes_our_buckets_and_identities():
    check(BUCKETS, IDENTITIES)
    assert BUCKETS == ("nasoa-system", "nasoa-tenants")
    assert sorted(IDENTITIES) == ["operator", "reader", "tenant"]


def test_pods_of_the_operator_run_the_runtime():
    assert IMAGES == {"nasoa/runtime:0.1.0": ("python", "-m", "nasoa_runtime")}
