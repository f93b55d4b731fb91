"""S3 goes away under a request that real pods serve: it is said, waited for, and everything goes on."""

from __future__ import annotations

import json
import uuid

import pytest
import yaml
from builders import a_request
from image_folders import make_images, upload
from operated import until
from tiny_zoo import SECRET, an_operator, install, publish_zoo, store_of, tiny_weights

from demo.cluster import TENANT, TENANT_BUCKET


@pytest.fixture
def place(cluster, tmp_path):
    """A namespace with data and a zoo, and S3 as it was in the end."""
    name = f"away-{uuid.uuid4().hex[:6]}"
    install(cluster, name)
    upload(
        store_of(cluster, cluster.s3.keys[TENANT]),
        make_images(tmp_path / "images"),
        f"s3://{TENANT_BUCKET}/{name}/data",
    )
    publish_zoo(cluster, name, *tiny_weights())
    yield name
    cluster.kubectl("delete", "finetunerequests", "--all", "-n", name, "--wait=false")
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def s3(cluster):
    """S3 to be stopped; it runs again afterwards, whatever happens."""
    yield cluster
    cluster.start_s3()


def test_a_request_outlives_an_s3_that_is_away_when_the_operator_starts_and_while_its_pod_runs(s3, place, tmp_path):
    cluster = s3

    def status():
        found = cluster.kubectl("get", "ftr", "patient", "-n", place, "-o", "json")
        return json.loads(found.stdout).get("status", {})

    def storage():
        return next((c for c in status().get("conditions", []) if c["type"] == "StorageReachable"), {})

    def pod_runs():
        pods = cluster.kubectl("get", "pods", "-n", place, "-l", "nasoa.io/step=probe", "-o", "json")
        return any(pod["status"]["phase"] == "Running" for pod in json.loads(pods.stdout)["items"])

    request = a_request(
        "patient",
        place,
        dataset={"uri": f"s3://{TENANT_BUCKET}/{place}/data"},
        outputURI=f"s3://{TENANT_BUCKET}/{place}/out",
        storage={"secretName": SECRET},
        zoo=place,
        timeLimit="120s",
        suspend=True,
    )
    cluster.stop_s3()
    with an_operator(cluster, tmp_path / "operator.log", place):
        cluster.kubectl("create", "-f", "-", input=yaml.safe_dump(request))
        until(lambda: storage().get("status") == "False", "word of the missing S3")
        assert storage()["reason"] == "StoreUnavailable"
        assert status()["message"].startswith("waiting for S3: s3://nasoa-system/requests/")
        assert "S3 does not answer" in status()["message"]
        cluster.start_s3()
        until(pod_runs, "the probe's pod")
        until(lambda: storage().get("status") == "True", "word that S3 is back")
        cluster.stop_s3()
        until(lambda: storage().get("status") == "False", "word of the S3 that is away again")
        cluster.start_s3()
        found = until(
            lambda: status() if status().get("phase") in {"Planned", "Failed"} else None, "the end of planning"
        )
    assert found["phase"] == "Planned", found["message"]
    assert storage()["status"] == "True"
