"""What pods on the local node are given: variables and volumes."""

from pathlib import Path

from devcluster.tests.pods import complaint_of, container, field, state_of


def test_variables_come_from_fields_config_maps_and_secrets(space):
    space.kubectl("create", "configmap", "settings", "--from-literal=K=from-map")
    space.kubectl("create", "secret", "generic", "keys", "--from-literal=K=from-secret")
    variables = [
        field("POD", "metadata.name"),
        field("SPACE", "metadata.namespace"),
        field("UNIQUE", "metadata.uid"),
        field("APP", "metadata.labels['app']"),
        field("IP", "status.podIP"),
        field("NODE", "spec.nodeName"),
        {"name": "MAP", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "K"}}},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "K"}}},
        {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "none", "key": "K", "optional": True}}},
        {"name": "BOTH", "value": "$(MAP)+$(SECRET)"},
    ]
    names = "POD SPACE UNIQUE APP IP NODE BOTH ALL_K ABSENT CUDA_VISIBLE_DEVICES"
    script = f'for v in {names}; do eval echo "\\${{$v-unset}}"; done; echo $0'
    one = container(env=variables, envFrom=[{"configMapRef": {"name": "settings"}, "prefix": "ALL_"}])
    name = space.run(one | {"command": ["sh", "-c", script, "$(MAP)"]})
    found = space.ended(name)
    assert space.logs(name) == [
        name,
        space.name,
        found["metadata"]["uid"],
        "a",
        found["status"]["podIP"],
        found["spec"]["nodeName"],
        "from-map+from-secret",
        "from-map",
        "unset",
        "",
        "from-map",
    ]
    assert found["status"]["podIP"].startswith("127.")
    assert found["status"]["podIP"] != found["status"]["hostIP"] == "127.0.0.1"


def test_a_container_waits_for_the_secret_it_names(space):
    one = container(env=[{"name": "S", "valueFrom": {"secretKeyRef": {"name": "late", "key": "K"}}}])
    name = space.run(one)
    found = space.until("pod", name, complaint_of)
    assert state_of(found)["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": 'secret "late" not found',
    }
    space.kubectl("create", "secret", "generic", "late", "--from-literal=K=v")
    assert space.ended(name)["status"]["phase"] == "Succeeded"


def test_init_containers_run_first_and_share_volumes(space):
    mount = [{"name": "work", "mountPath": "/devcluster-test/work"}]
    name = space.run(
        container("cat /devcluster-test/work/order; grep -c . /devcluster-test/work/order", volumeMounts=mount),
        initContainers=[
            container("echo first >> /devcluster-test/work/order", "one", volumeMounts=mount),
            container("echo second >> /devcluster-test/work/order", "two", volumeMounts=mount),
        ],
        volumes=[{"name": "work", "emptyDir": {}}],
    )
    assert space.ended(name)["status"]["phase"] == "Succeeded"
    assert space.logs(name) == ["first", "second", "2"]
    assert not Path("/devcluster-test").exists()


def test_every_kind_of_volume_is_mounted(space, tmp_path):
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "file").write_text("host\n")
    (tmp_path / "claimed").mkdir()
    space.kubectl("create", "configmap", "settings", "--from-literal=key=map")
    space.kubectl("create", "secret", "generic", "keys", "--from-literal=key=secret")
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": space.name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(tmp_path / "claimed")},
        },
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "claim"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "volumeName": space.name,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }
    space.apply(volume, claim)
    projected = [
        {"configMap": {"name": "settings", "items": [{"key": "key", "path": "renamed"}]}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token"}},
    ]
    script = (
        "cat /v/map/key; echo; cat /v/secret/key; echo; cat /v/host/file; echo claimed > /v/claim/file;"
        "cat /v/all/renamed; echo; cat /v/all/name; echo; wc -w < /v/all/token; touch /v/host/no || echo read-only;"
        "cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo"
    )
    name = space.run(
        container(
            script,
            volumeMounts=[
                {"name": "map", "mountPath": "/v/map"},
                {"name": "secret", "mountPath": "/v/secret"},
                {"name": "host", "mountPath": "/v/host", "readOnly": True},
                {"name": "claim", "mountPath": "/v/claim"},
                {"name": "all", "mountPath": "/v/all"},
            ],
        ),
        volumes=[
            {"name": "map", "configMap": {"name": "settings"}},
            {"name": "secret", "secret": {"secretName": "keys"}},
            {"name": "host", "hostPath": {"path": str(tmp_path / "host"), "type": "Directory"}},
            {"name": "claim", "persistentVolumeClaim": {"claimName": "claim"}},
            {"name": "all", "projected": {"sources": projected}},
        ],
    )
    assert space.ended(name)["status"]["phase"] == "Succeeded"
    lines = [line for line in space.logs(name) if "cannot touch" not in line]
    assert lines == ["map", "secret", "host", "map", name, "1", "read-only", space.name]
    assert (tmp_path / "claimed" / "file").read_text() == "claimed\n"
    space.cluster.kubectl("delete", "pv", space.name, "--wait=false")


def test_a_pod_waits_for_its_volume_and_says_which(space):
    name = space.run(container(), volumes=[{"name": "v", "configMap": {"name": "late"}}])
    found = space.until("pod", name, complaint_of)
    assert state_of(found)["waiting"] == {
        "reason": "ContainerCreating",
        "message": 'MountVolume.SetUp failed for volume "v": configmap "late" not found',
    }
    space.kubectl("create", "configmap", "late", "--from-literal=K=v")
    assert space.ended(name)["status"]["phase"] == "Succeeded"
