from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.node.addresses import AddressPool
from devcluster.node.devices import Devices
from devcluster.node.machine import Capacity, memory_kib, parse_gpus
from devcluster.node.quantity import parse_quantity, whole_units
from devcluster.node.registration import labels, node_status
from devcluster.node.server import caller


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("500m", "0.5", id="thousandths"),
        pytest.param("2", "2", id="plain"),
        pytest.param("1.5Gi", "1610612736", id="binary"),
        pytest.param("3k", "3000", id="decimal"),
        pytest.param("1e3", "1000", id="exponent"),
        pytest.param("1E", "1000000000000000000", id="exa is no exponent"),
        pytest.param(4, "4", id="a number"),
    ],
)
def test_quantities_are_exact_numbers(text, number):
    assert parse_quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "1 Gi", "Gi", "1gb", "--1"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        parse_quantity(text)


def test_units_are_rounded_up():
    assert (whole_units("1200m"), whole_units("100Mi", "1Gi"), whole_units("0")) == (2, 1, 0)


@given(st.lists(st.uuids().map(str), unique=True, max_size=50))
def test_every_pod_has_an_address_of_its_own(uids):
    pool = AddressPool()
    addresses = [pool.allocate(uid) for uid in uids]
    assert len(set(addresses)) == len(uids)
    assert all(one.startswith("127.") and not one.startswith("127.0.") for one in addresses)
    assert [pool.allocate(uid) for uid in uids] == addresses


def test_a_reserved_address_is_kept_and_a_released_one_is_free():
    pool = AddressPool()
    pool.reserve("a", "127.4.4.4")
    assert pool.allocate("a") == "127.4.4.4"
    pool.release("a")
    first = pool.allocate("b")
    other = AddressPool()
    other.reserve("someone", first)
    assert other.allocate("b") != first


def requesting(**amounts):
    return {"resources": {"requests": {key.replace("gpu", "nvidia.com/gpu"): text for key, text in amounts.items()}}}


def test_whole_cpus_and_gpus_are_given_out_without_overlap():
    devices = Devices(cpus=(0, 1, 2, 3), gpus=("g0", "g1"))
    first, second = (
        devices.allocate("a", requesting(cpu="2", gpu="1")),
        devices.allocate("b", requesting(cpu="1", gpu="1")),
    )
    assert (first.cpus, first.gpus) == ((0, 1), ("g0",))
    assert (second.cpus, second.gpus) == ((2,), ("g1",))
    assert first.variables() == {"CUDA_VISIBLE_DEVICES": "g0", "OMP_NUM_THREADS": "2"}
    devices.release("a")
    assert devices.allocate("c", requesting(cpu="2")).cpus == (0, 1)


@pytest.mark.parametrize(
    ("container", "cpus", "variables"),
    [
        pytest.param({}, None, {"CUDA_VISIBLE_DEVICES": ""}, id="nothing requested"),
        pytest.param(
            requesting(cpu="500m"), None, {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}, id="part of a CPU"
        ),
        pytest.param(
            requesting(cpu="2"), None, {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}, id="all CPUs there are"
        ),
        pytest.param(
            {"resources": {"limits": {"cpu": "1"}}},
            (0,),
            {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
            id="a limit counts as a request",
        ),
    ],
)
def test_a_container_gets_what_it_requested(container, cpus, variables):
    grant = Devices(cpus=(0, 1)).allocate("a", container)
    assert grant.cpus == cpus
    assert grant.variables() == variables


def test_the_machine_is_read_from_what_it_says():
    assert memory_kib("MemTotal:       24684092 kB\nMemFree: 1 kB\n") == 24684092
    assert parse_gpus("GPU-1, NVIDIA H100 80GB HBM3\nGPU-2, NVIDIA H100 80GB HBM3\n") == (
        ("GPU-1", "GPU-2"),
        "NVIDIA-H100-80GB-HBM3",
    )
    assert parse_gpus("") == ((), "")


def test_a_node_shows_its_gpus():
    capacity = Capacity((0, 1), 1024, 4096, 110, ("GPU-1",), "NVIDIA-H100")
    status = node_status("n", capacity, 4242, "v1.36.3", "2026-01-01T00:00:00Z", "2026-01-01T00:00:30Z")
    assert status["allocatable"] == {
        "cpu": "2", "memory": "1024Ki", "ephemeral-storage": "4096", "pods": "110", "nvidia.com/gpu": "1",
    }  # fmt: skip
    assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 4242}}
    assert {one["type"]: one["status"] for one in status["conditions"]}["Ready"] == "True"
    assert labels("n", capacity)["nvidia.com/gpu.product"] == "NVIDIA-H100"


def test_the_caller_is_named_by_its_certificate():
    subject = ((("organizationName", "system:masters"),), (("organizationName", "dev"),), (("commonName", "ann"),))
    assert caller({"subject": subject}) == ("ann", ["system:masters", "dev"])
    assert caller(None) == ("", [])
