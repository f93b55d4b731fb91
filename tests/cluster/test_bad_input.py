"""What becomes of objects that admission takes and that still can't be served, with the real operator and real pods.

All objects are created at once, so that their pods share the node; each test then waits for its own.
"""

from __future__ import annotations

import io
import json
import re
import time
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml
from builders import a_request, a_search
from image_folders import make_images
from PIL import Image
from tiny_zoo import SECRET, a_namespace, a_secret, an_operator, apply, install, publish_zoo, store_of, tiny_weights

from demo.cluster import OPERATOR, READER, SYSTEM_BUCKET, TENANT, TENANT_BUCKET
from devcluster.s3 import Keys
from nasoa_operator.jobs import Owner, child_name

PATIENCE_SECONDS = 240.0
DATA = f"s3://{TENANT_BUCKET}/data"
OUTPUT = f"s3://{TENANT_BUCKET}/out"
BAD_RESULT = {
    "not-json": b"this is no result",
    "too-large": b'"' + b"x" * (4 * 1024 * 1024) + b'"',
    "nan": b'{"program":"probe","step_correction":NaN}',
}


def to_yaml(*documents):
    return yaml.safe_dump_all(documents)


def encoded(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def a_bomb():
    """A PNG of a few bytes that claims a hundred megapixels."""
    body = bytearray(encoded(Image.new("1", (8, 8))))
    body[16:24] = (10_000).to_bytes(4, "big") * 2
    body[29:33] = zlib.crc32(body[12:29]).to_bytes(4, "big")
    return bytes(body)


def datasets(folder):
    """Path below the bucket's ``data/`` -> content."""
    images = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(make_images(folder, classes=3, per_class=60).rglob("*.png"))
    }
    few = {path: body for path, body in images.items() if len(path) == len("class-0/1.png")}
    of_two = {path: body for path, body in few.items() if not path.startswith("class-2")}
    names = {"class-0": "größe 3", "class-1": "v1.2", "class-2": "猫"}
    odd = {f"{names[path[:7]]}{path[7:]}": body for path, body in images.items()}
    odd |= {"v1.2/one pixel.png": encoded(Image.new("RGB", (1, 1), "red")), "v1.2/zz bomb.png": a_bomb()}
    folders = {
        "good": few,
        "odd data/v1.2": odd,
        "no-folders": {path.replace("/", "-"): body for path, body in few.items()},
        "empty-class": {path: body for path, body in few.items() if "class-0" in path} | {"class-1/notes.txt": b"?"},
        "one-class": {path: body for path, body in few.items() if "class-0" in path},
        "broken": of_two | {"class-1/broken.png": b"not an image"},
    }
    return {f"{name}/{path}": body for name, found in folders.items() for path, body in found.items()}


def a_share_of_a_core(share):
    """A pod that asks for so little that those which can't run leave room for the others."""
    return {"resources": {"requests": {"cpu": share, "memory": "256Mi"}}}


class Crowd:
    """All objects of this module, and what is asked of them."""

    def __init__(self, cluster, suffix):
        self.cluster = cluster
        self.team, self.other, self.full, self.foreign = (
            f"{name}-{suffix}" for name in ("team", "other", "full", "foreign")
        )
        self.store = store_of(cluster, cluster.s3.keys[TENANT])
        self.later = f"later-{suffix}"
        self.zoo = f"tiny-{suffix}"

    def request(self, name, namespace=None, **overrides):
        """A request that is only planned, unless it says otherwise."""
        fields = {
            "dataset": {"uri": f"{DATA}/good"},
            "outputURI": OUTPUT,
            "zoo": self.zoo,
            "timeLimit": "90s",
            "suspend": True,
            "storage": {"secretName": SECRET},
            "podTemplate": a_share_of_a_core("400m"),
        }
        return a_request(name, namespace or self.team, **(fields | overrides))

    def create(self, *manifests):
        self.cluster.kubectl("create", "-f", "-", input=to_yaml(*manifests))

    def get(self, name, namespace=None, kind="finetunerequest"):
        found = self.cluster.kubectl("get", kind, name, "-n", namespace or self.team, "-o", "json")
        return json.loads(found.stdout)

    def until(self, name, holds, **where):
        """The status, once ``holds`` is true of it."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not holds(status := self.get(name, **where).get("status", {})):
            assert time.monotonic() < deadline, json.dumps(status, indent=1)
        return status

    def until_phase(self, name, *phases, **where):
        return self.until(name, lambda status: status.get("phase") in phases, **where)

    def failure(self, name, **where):
        """Reason and message of an object that has failed."""
        status = self.until_phase(name, "Failed", **where)
        found = condition(status, "Failed")
        assert found["message"] == status["message"]
        return found["reason"], status["message"]

    def refusal(self, name, **where):
        """Reason and message of an object that is not accepted."""
        status = self.until(name, lambda found: condition(found, "Accepted").get("status") == "False", **where)
        found = condition(status, "Accepted")
        assert found["message"] == status["message"]
        return found["reason"], status["message"]

    def blockage(self, name, **where):
        """Reason and message of an object whose pods can't run."""
        status = self.until(name, lambda found: condition(found, "PodsRunnable").get("status") == "False", **where)
        assert status["phase"] not in {"Failed", "Succeeded"}
        found = condition(status, "PodsRunnable")
        assert found["message"] == status["message"]
        return found["reason"], status["message"]

    def events(self, name, namespace=None):
        """Type and reason of each event -> its message; each is told once."""
        fields = f"involvedObject.name={name},reportingComponent=nasoa-operator"
        done = self.cluster.kubectl(
            "get", "events", "-n", namespace or self.team, f"--field-selector={fields}", "-o", "json"
        )
        told = [(e["type"], e["reason"], e["message"]) for e in json.loads(done.stdout)["items"]]
        assert len(set(told)) == len(told), told
        return {(kind, reason): message for kind, reason, message in told}

    def until_event(self, name, kind, reason):
        deadline = time.monotonic() + 20
        while (kind, reason) not in (found := self.events(name)):
            assert time.monotonic() < deadline, found
        return found[kind, reason]

    def uid(self, name):
        return self.get(name)["metadata"]["uid"]

    def plant(self, name, step, body):
        """Put ``body`` where the pod of ``step`` looks for the result of an earlier attempt."""
        self.store.put(f"{OUTPUT}/{self.uid(name)}/results/{step}/0.json", body)


def condition(status, kind):
    return next((c for c in status.get("conditions", []) if c["type"] == kind), {})


@pytest.fixture(scope="module")
def crowd(cluster, tmp_path_factory):
    """A crowd of tenants, all of whom have written something that can't be served."""
    crowd = Crowd(cluster, uuid.uuid4().hex[:6])
    install(cluster, crowd.team, crowd.other, crowd.full)
    apply(cluster, a_namespace(crowd.foreign), a_quota(crowd.full), *secrets(crowd))
    with ThreadPoolExecutor(8) as pool:
        found = datasets(tmp_path_factory.mktemp("images"))
        list(pool.map(lambda item: crowd.store.put(f"{DATA}/{item[0]}", item[1]), found.items()))
    weights, product = tiny_weights()
    publish_zoo(cluster, crowd.zoo, weights, product)
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with an_operator(cluster, log, crowd.team, crowd.other, crowd.full, crowd.foreign):
        crowd.create(*manifests_of(crowd))
        for name in ("not-json", "too-large", "nan"):
            crowd.plant(name, "probe", BAD_RESULT[name])
        for name in ("not-json", "too-large"):
            crowd.plant(name, "probe-retry", BAD_RESULT[name])
        crowd.refusal("later")
        crowd.refusal("conflict")
        crowd.create(a_job_in_the_way(crowd, "conflict"))
        publish_zoo(cluster, crowd.later, weights, product)
        yield crowd
        names = (crowd.team, crowd.other, crowd.full, crowd.foreign)
        for kind in ("finetunerequests", "nassearches"):
            for name in names:
                cluster.kubectl("delete", kind, "--all", "-n", name, "--wait=false")
        cluster.kubectl("delete", "namespace", *names, "--wait=false")


def a_quota(namespace):
    metadata = {"name": "none", "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": {"pods": "0"}}}


def secrets(crowd):
    nobody, keys = Keys("nobody", "nothing"), crowd.cluster.s3.keys
    return (
        a_secret(crowd.team, "nobody", nobody, nobody),
        a_secret(crowd.team, "admin", keys["admin"], keys[READER]),
        a_secret(crowd.team, "no-reader", keys[TENANT], nobody),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "half", "namespace": crowd.team},
            "stringData": {"AWS_ACCESS_KEY_ID": "somebody"},
        },
    )


def a_job_in_the_way(crowd, name):
    owner = Owner("nasoa.io/v1alpha1", "FineTuneRequest", crowd.team, name, crowd.uid(name))
    pod = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "other"}]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": child_name(owner, "probe"), "namespace": crowd.team},
        "spec": {"suspend": True, "template": {"spec": pod}},
    }


def manifests_of(crowd):
    """Everybody's objects, those with short-lived pods first."""
    other, request = {"zoo": crowd.later}, crowd.request
    yield request("denied", storage={"secretName": "nobody"})
    yield request("no-output", outputURI="s3://no-such-bucket/out", storage={"secretName": "admin"})
    yield from (request(name, **other) for name in (*BAD_RESULT, "later", "conflict"))
    yield request("no-secret", storage={"secretName": "created-later"}, podTemplate=a_share_of_a_core("50m"))
    yield request("half-a-secret", storage={"secretName": "half"}, podTemplate=a_share_of_a_core("50m"))
    yield request("no-claim", dataset={"uri": "pvc://nowhere/images"})
    yield request("pin", pins={"model": f"{crowd.zoo}-7"})
    yield request("system", outputURI=f"s3://{SYSTEM_BUCKET}/zoo/mine")
    yield request("quota", crowd.full)
    yield request("foreign", crowd.foreign)
    yield request("short", timeLimit="1s")
    # A tenth of this is over before any process has started: no machine measures a step in it.
    yield request("unmeasured", timeLimit="20ms", batchSize=7)
    yield request("no-bucket", dataset={"uri": "s3://no-such-bucket/images"}, storage={"secretName": "admin"})
    yield request("others-data", dataset={"uri": f"s3://{SYSTEM_BUCKET}/zoo"})
    for name in ("no-folders", "empty-class", "one-class", "broken", "nothing-there"):
        yield request(name, dataset={"uri": f"{DATA}/{name}"})
    yield request("odd", dataset={"uri": f"{DATA}/odd data/v1.2/"}, outputURI=f"{OUTPUT}/with space/")
    # Another batch size, so that no probe of the same data answers in its place.
    yield request("unreadable-zoo", storage={"secretName": "no-reader"}, batchSize=16)
    yield request("twin")
    yield request("twin", crowd.other)
    blocks = {"generations": 1, "epochs": 1}
    for name, encodings in (
        ("onto-the-last-node", ["02031-a03_64_1-2-4-2"]),
        ("not-divisible", ["131-_32_1-1-1-1", "5-_16_1-1-1-1", "02031-a03_64_1-2-4-2"]),
        ("twice", ["031-_16_1-2-2-2", "031-_16_1-2-2-2"]),
    ):
        macro = {"generations": 5, "initialArchitectures": encodings}
        yield a_search(name, crowd.team, outputURI=OUTPUT, zoo={"name": name}, blockPhase=blocks, macroPhase=macro)


# --- Not accepted ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("onto-the-last-node", r"initialArchitectures\[0\] '02031-a03_64_1-2-4-2': .+", id="concat"),
        pytest.param(
            "not-divisible",
            r"initialArchitectures\[1\] '5-_16_1-1-1-1': .*operation 5 needs multiples of 32 .* write another",
            id="channels",
        ),
        pytest.param(
            "twice", r"initialArchitectures\[1\] '031-_16_1-2-2-2': is the same network as \[0\]; remove", id="twice"
        ),
    ],
)
def test_an_architecture_that_cannot_be_built_is_named_with_its_index(crowd, name, words):
    reason, message = crowd.refusal(name, kind="nassearch")
    assert reason == "InvalidArchitecture"
    assert re.search(rf"spec\.macroPhase\.{words}", message), message
    assert crowd.until_event(name, "Warning", "InvalidArchitecture") == message


def test_a_pin_that_the_zoo_lacks_says_what_it_has(crowd):
    expected = (
        f"spec.pins.model: zoo {crowd.zoo} has no model '{crowd.zoo}-7' (did you mean {crowd.zoo}-1?); it has "
        f"{crowd.zoo}-1. Leave pins.model out to let the predictor choose"
    )
    assert crowd.refusal("pin") == ("PinNotInZoo", expected)


def test_outputs_do_not_go_where_the_zoo_is(crowd):
    reason, message = crowd.refusal("system")
    assert reason == "OutputInSystemBucket"
    assert message.startswith("spec.outputURI: ")


def test_an_unknown_zoo_is_waited_for_and_then_served(crowd):
    message = crowd.until_event("later", "Warning", "ZooNotFound")
    assert message == f"spec.zoo: there is no zoo '{crowd.later}' yet; the request waits for it"
    status = crowd.until_phase("later", "Planned")
    assert condition(status, "Accepted")["status"] == "True"
    assert status["schedule"]["model"] == f"{crowd.later}-1"


def test_all_that_is_wrong_with_a_search_is_said_at_once(crowd):
    _, message = crowd.refusal("not-divisible", kind="nassearch")
    assert "initialArchitectures[1] '5-_16_1-1-1-1': " in message
    assert "; spec.macroPhase.initialArchitectures[2] '02031-a03_64_1-2-4-2': " in message


# --- Pods that can't run -----------------------------------------------------------------------------------------


def test_a_missing_secret_is_named_and_the_pods_start_once_it_is_there(crowd):
    expected = (
        f"spec.storage.secretName: there is no Secret 'created-later' in namespace {crowd.team}: create it with the "
        "keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and the pods start by themselves"
    )
    assert crowd.blockage("no-secret") == ("CreateContainerConfigError", expected)
    assert crowd.until_event("no-secret", "Warning", "CreateContainerConfigError") == expected
    apply(
        crowd.cluster,
        a_secret(crowd.team, "created-later", crowd.cluster.s3.keys[TENANT], crowd.cluster.s3.keys[READER]),
    )
    status = crowd.until_phase("no-secret", "Planned")
    assert condition(status, "PodsRunnable")["status"] == "True"
    assert status["message"] == "planned; spec.suspend keeps it from running"


def test_a_secret_without_one_of_its_keys_is_named(crowd):
    reason, message = crowd.blockage("half-a-secret")
    assert reason == "CreateContainerConfigError"
    assert "spec.storage.secretName: Secret 'half' has no key AWS_SECRET_ACCESS_KEY: add it" in message


def test_a_missing_claim_is_named(crowd):
    expected = (
        f"spec.dataset.uri: there is no PersistentVolumeClaim 'nowhere' in namespace {crowd.team}: create it, or "
        "delete this object and name another one"
    )
    assert crowd.blockage("no-claim") == ("ClaimNotFound", expected)


def test_a_quota_that_leaves_no_pods_is_pointed_at(crowd):
    reason, message = crowd.blockage("quota", namespace=crowd.full)
    assert reason == "PodsNotCreated"
    assert f"-n {crowd.full}` says why. A quota may be used up" in message


def test_a_namespace_that_is_not_enrolled_says_what_an_administrator_does(crowd):
    reason, message = crowd.blockage("foreign", namespace=crowd.foreign)
    assert reason == "NamespaceNotEnrolled"
    assert f"the operator may not run Jobs in namespace {crowd.foreign}: an administrator enrols" in message


def test_a_job_of_another_in_the_way_is_named_and_left_alone(crowd):
    reason, message = crowd.blockage("conflict")
    assert reason == "NameConflict"
    name = re.match(r"Job (\S+) exists, but belongs to something else; delete or rename it", message)[1]
    job = crowd.get(name, kind="job")
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == "other"


# --- Datasets and outputs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        pytest.param(
            "no-bucket",
            "InvalidDataset",
            "spec.dataset.uri: s3://no-such-bucket/images/: there is no bucket 'no-such-bucket': create it, or correct "
            "the address",
            id="missing bucket",
        ),
        pytest.param(
            "nothing-there",
            "InvalidDataset",
            f"spec.dataset.uri: there is nothing under {DATA}/nothing-there/: check the prefix, and that the upload",
            id="missing prefix",
        ),
        pytest.param(
            "no-folders",
            "InvalidDataset",
            f"spec.dataset.uri: no class folders with images under {DATA}/no-folders: put each class's images in a "
            f"folder of its own, for example {DATA}/no-folders/cat/1.png",
            id="no class folders",
        ),
        pytest.param(
            "empty-class",
            "InvalidDataset",
            f"spec.dataset.uri: class 'class-1' under {DATA}/empty-class has no images: add some or remove its folder",
            id="a class without images",
        ),
        pytest.param(
            "one-class",
            "InvalidDataset",
            f"spec.dataset.uri: only one class, 'class-0', under {DATA}/one-class: a classifier needs at least two",
            id="one class",
        ),
        pytest.param(
            "broken",
            "InvalidDataset",
            f"spec.dataset.uri: 1 of 21 images under {DATA}/broken can't be decoded, more than 1 %: repair or remove "
            "them (class-1/broken.png: ",
            id="broken images",
        ),
        pytest.param(
            "others-data",
            "InvalidDataset",
            f"spec.dataset.uri: s3://{SYSTEM_BUCKET}/zoo/: access was denied (AccessDenied): check the credentials, "
            f"that there is a bucket '{SYSTEM_BUCKET}', and what they may do in it; a pod's keys come from the Secret "
            "that storage.secretName names",
            id="data of others",
        ),
        pytest.param("denied", "InvalidOutput", "access was denied (InvalidAccessKeyId)", id="denied credentials"),
        pytest.param(
            "no-output", "InvalidOutput", "there is no bucket 'no-such-bucket': create it", id="no bucket for outputs"
        ),
        pytest.param("unreadable-zoo", "InvalidZoo", f"s3://{SYSTEM_BUCKET}/zoo/", id="reader's keys"),
    ],
)
def test_what_a_pod_refuses_fails_the_request_by_the_field(crowd, name, reason, words):
    found, message = crowd.failure(name)
    assert (found, message.startswith("spec.")) == (reason, True), message
    assert words in message
    assert crowd.until_event(name, "Warning", reason) == message[:1000]


def test_odd_names_and_images_are_served_and_up_to_one_percent_of_broken_ones_is_named(crowd):
    status = crowd.until_phase("odd", "Planned", "Failed")
    assert status["phase"] == "Planned", status
    assert status["statistics"]["classes"] == 3
    assert status["statistics"]["brokenImages"] == 1
    words = "v1.2/zz bomb.png: 10000 x 10000 pixels, more than 64 million: scale it down"
    assert status["statistics"]["brokenExamples"] == [words]
    assert f"1 broken images are left out: {words}" in crowd.until_event("odd", "Normal", "Probed")


# --- Time --------------------------------------------------------------------------------------------------------


def test_too_short_a_time_limit_says_the_least_that_works_and_it_does(crowd):
    reason, message = crowd.failure("short")
    assert reason == "TimeLimitTooShort"
    found = re.fullmatch(
        r"spec\.timeLimit: nothing fits in 1 s: the least time limit is (\d+) s, by this probe; write timeLimit: (\S+)"
        r" or more, as start-up times vary",
        message,
    )
    assert found, message
    crowd.create(crowd.request("long-enough", timeLimit=found[2]))
    status = crowd.until_phase("long-enough", "Planned", "Failed")
    assert status["phase"] == "Planned", status["message"]


def test_a_time_limit_too_short_to_measure_a_step_is_planned_with_steps_of_another_batch_size(crowd):
    reason, message = crowd.failure("unmeasured")
    assert reason == "TimeLimitTooShort"
    assert message.startswith("spec.timeLimit: nothing fits in 0.02 s: the least time limit is ")


# --- Two of one name ---------------------------------------------------------------------------------------------


def test_two_objects_of_one_name_in_two_namespaces_are_two(crowd):
    for namespace in (crowd.team, crowd.other):
        crowd.until_phase("twin", "Planned", namespace=namespace)
    jobs = {
        json.loads(crowd.cluster.kubectl("get", "ftr", "twin", "-n", name, "-o", "json").stdout)["metadata"]["uid"]
        for name in (crowd.team, crowd.other)
    }
    documents = store_of(crowd.cluster, crowd.cluster.s3.keys[OPERATOR])
    assert len(jobs) == 2
    for uid in jobs:
        assert documents.head(f"s3://{SYSTEM_BUCKET}/requests/{uid}/schedule.json") is not None


# --- Results that are none ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("not-json", "Invalid JSON", id="not JSON"),
        pytest.param("too-large", "result over 4194304 bytes", id="too large"),
    ],
)
def test_a_result_that_is_none_twice_fails_the_request(crowd, name, words):
    reason, message = crowd.failure(name)
    assert reason == "InvalidResult"
    assert words in message


def test_a_result_that_is_none_once_is_made_again(crowd):
    status = crowd.until_phase("nan", "Planned", "Failed")
    assert status["phase"] == "Planned", status


def test_an_accuracy_of_170_percent_is_refused(crowd):
    crowd.until_phase("twin", "Planned", namespace=crowd.other)
    uid = crowd.get("twin", namespace=crowd.other)["metadata"]["uid"]
    regime = {"model": "m", "learning_rate": 0.1, "frozen_stages": 0, "steps": 9, "step_seconds": 0.1}
    run = {"regime": regime | {"predicted_accuracy": 0.5}, "steps": 9, "validation_accuracy": 0.9, "seconds": 9.0}
    body = {
        "program": "finetune",
        "runs": [run],
        "chosen": 0,
        "validation_accuracy": 1.7,
        "test_accuracy": None,
        "seconds": 9.0,
        "attempts": 1,
        "steps": 9,
        "step_seconds": 0.1,
        "loading_seconds": 0.0,
        "output_uri": OUTPUT,
        "model_digest": "0" * 64,
    }
    for step in ("finetune", "finetune-retry"):
        crowd.store.put(f"{OUTPUT}/{uid}/results/{step}/0.json", json.dumps(body).encode())
    patch = json.dumps({"spec": {"suspend": False}})
    crowd.cluster.kubectl("patch", "ftr", "twin", "-n", crowd.other, "--type=merge", "-p", patch)
    reason, message = crowd.failure("twin", namespace=crowd.other)
    assert reason == "InvalidResult"
    assert message == "finetune.validation_accuracy: Input should be less than or equal to 1"
