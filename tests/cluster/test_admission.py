"""What the real API server refuses, and what it tells the user to write instead."""

from __future__ import annotations

import json
import uuid

import pytest
import yaml
from builders import a_request, a_search

from nasoa_operator.crd import crd
from nasoa_operator.install import manifests
from nasoa_operator.settings import Settings
from nasoa_runtime.api.finetune import FineTuneRequestSpec
from nasoa_runtime.api.kinds import KINDS
from nasoa_runtime.api.search import NASSearchSpec

# Roles and policies are the cluster's: what is installed here must be what everybody installs.
IMAGE = Settings().pod_image
OPERATOR_NAMESPACE = Settings().namespace
OPERATOR = f"system:serviceaccount:{OPERATOR_NAMESPACE}:nasoa"
DECIDED = "is decided at creation and can't be changed"


def to_yaml(*documents):
    return yaml.safe_dump_all(documents)


@pytest.fixture(scope="module")
def tenant(cluster):
    """A namespace with the CRDs, roles and policies installed; its name."""
    name = f"tenant-{uuid.uuid4().hex[:6]}"
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in (OPERATOR_NAMESPACE, name)
    ]
    cluster.kubectl("apply", "--server-side", "-f", "-", input=to_yaml(*namespaces, *(crd(kind) for kind in KINDS)))
    for kind in KINDS:
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{kind.name}", "--timeout=30s")
    # Server-side, as all tests install it: two ways to apply would each claim the policies' fields.
    installed = to_yaml(*manifests(OPERATOR_NAMESPACE, [name], IMAGE))
    cluster.kubectl("apply", "--server-side", "-f", "-", input=installed)
    wait_for_policies(cluster, name)
    return name


def wait_for_policies(cluster, namespace):
    """Return once both policies are in force: the API server takes them up some time after they are written."""
    job = a_job(namespace, image="other")
    probe = a_request("probe", namespace, storage={"secretName": "s"})
    allow(cluster, namespace, "weak")
    for manifest, user in ((job, OPERATOR), (probe, "weak")):
        for _ in range(150):
            done = cluster.kubectl(
                "create", "--dry-run=server", f"--as={user}", "-f", "-", input=to_yaml(manifest), check=False
            )
            if "ValidatingAdmissionPolicy" in done.stderr:
                break
        else:
            pytest.fail(f"the policies are not in force: {done.stderr}")


def allow(cluster, namespace, user):
    """Let ``user`` create our kinds in ``namespace``, and nothing else."""
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": f"nasoa-edit-{user}", "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "nasoa-edit"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    cluster.kubectl("apply", "-f", "-", input=to_yaml(binding))


def a_job(namespace, *, image=IMAGE, owner="FineTuneRequest", token=False):
    owners = [
        {"apiVersion": "nasoa.io/v1alpha1", "kind": owner, "name": "x", "uid": str(uuid.uuid4()), "controller": True}
    ]
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": token,
        "containers": [{"name": "nasoa", "image": image}],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job", "namespace": namespace} | ({"ownerReferences": owners} if owner else {}),
        "spec": {"template": {"spec": pod}},
    }


def refusal(cluster, manifest, *options):
    """What the API server says to ``manifest``, which it must refuse."""
    done = cluster.kubectl("create", "--dry-run=server", *options, "-f", "-", input=to_yaml(manifest), check=False)
    assert done.returncode != 0, f"was accepted: {manifest}"
    return done.stderr


def create(cluster, manifest):
    """Create ``manifest``, and return it as stored."""
    done = cluster.kubectl("create", "-o", "json", "-f", "-", input=to_yaml(manifest))
    return json.loads(done.stdout)


def edited(cluster, namespace, kind, name, spec):
    """Edit the spec by a merge patch."""
    patch = json.dumps({"spec": spec})
    return cluster.kubectl("patch", kind, name, "-n", namespace, "--type=merge", "-p", patch, check=False)


# --- What is filled in -------------------------------------------------------------------------------------------


def test_the_least_search_gets_the_defaults_of_the_models(cluster, tenant):
    stored = create(cluster, a_search("least", tenant))
    assert stored["spec"] == without_empty(
        NASSearchSpec.model_validate(a_search()["spec"]).to_manifest(), stored["spec"]
    )
    assert stored["spec"]["parallelism"] == 4
    assert stored["spec"]["blockPhase"]["generations"] == 20


def test_the_least_request_gets_the_defaults_of_the_models(cluster, tenant):
    stored = create(cluster, a_request("least", tenant))
    spec = FineTuneRequestSpec.model_validate(a_request()["spec"]).to_manifest()
    assert stored["spec"] == without_empty(spec, stored["spec"])
    assert stored["spec"]["strategy"] == "Race"


def without_empty(expected, like):
    """``expected`` as the API server stores it: the numbers of JSON are equal, whole or not."""
    assert json.loads(json.dumps(expected)).keys() == like.keys()
    return expected


def test_an_object_as_stored_is_read_by_the_models(cluster, tenant):
    stored = create(cluster, a_search("read-back", tenant, space={"operations": [0, 1]}, limits={"maxGPUHours": 2}))
    assert NASSearchSpec.model_validate(stored["spec"]).limits.max_gpu_hours == 2


# --- What is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        pytest.param("0s", "must be a duration above zero, such as 80ms, 90s, 30m or 1h30m", id="zero"),
        pytest.param("0", "must be a duration above zero, such as 80ms, 90s, 30m or 1h30m", id="zero without a unit"),
        pytest.param("-5m", "must be a duration above zero, such as 80ms, 90s, 30m or 1h30m", id="negative"),
        pytest.param("soon", "must be a duration above zero, such as 80ms, 90s, 30m or 1h30m", id="a word"),
        pytest.param("999999h", "must be a duration above zero", id="a century"),
        pytest.param("60", "must be a duration above zero, such as 80ms, 90s, 30m or 1h30m", id="no unit"),
        pytest.param(
            60,
            "spec.timeLimit: Invalid value: 60: must be a duration above zero, such as 80ms, 90s, 30m or 1h30m",
            id="a number without a unit",
        ),
        pytest.param("", "must be a duration above zero, such as 80ms, 90s, 30m or 1h30m", id="nothing"),
        pytest.param("1.5", "must be a duration above zero, such as 80ms, 90s, 30m or 1h30m", id="a fraction"),
        pytest.param(None, "spec.timeLimit: Required value", id="none"),
    ],
)
def test_a_time_limit_that_is_no_time_is_refused(cluster, tenant, limit, message):
    assert message in refusal(cluster, a_request("r", tenant, timeLimit=limit))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            {"dataset": {"uri": "https://example.com/data"}},
            "must be s3://BUCKET/PREFIX or pvc://CLAIM/PATH",
            id="https",
        ),
        pytest.param({"dataset": {"uri": "s3://tenant/../other"}}, "without . or ..", id="dots"),
        pytest.param(
            {"dataset": {"uri": "s3://tenant/größe"}},
            "A path has ASCII letters, digits, spaces and !_.*()=@:+,- between single slashes",
            id="a prefix of another script",
        ),
        pytest.param({"dataset": {"uri": "s3://tenant//x"}}, "between single slashes", id="two slashes"),
        pytest.param({"dataset": {"uri": "/data/images"}}, "must be s3://BUCKET/PREFIX or pvc://", id="a folder"),
        pytest.param({"dataset": {"uri": ""}}, "must be s3://BUCKET/PREFIX or pvc://CLAIM/PATH", id="no data"),
        pytest.param({"dataset": None}, "spec.dataset: Required value", id="data left out"),
        pytest.param({"outputURI": "gs://bucket/x"}, "must be s3://BUCKET/PREFIX", id="output"),
        pytest.param({"outputURI": "s3://b/x"}, "a bucket has 3 to 63 characters", id="short bucket"),
        pytest.param({"zoo": "My Zoo"}, "must be lower-case letters, digits and '-'", id="zoo"),
        pytest.param(
            {"device": {"product": "H100"}},
            "spec.device.product: Invalid value: names a GPU, but type is cpu",
            id="product of no GPU",
        ),
        pytest.param({"device": {"count": 0}}, "should be greater than or equal to 1", id="no device"),
        pytest.param({"device": {"type": "tpu"}}, 'supported values: "cpu", "cuda"', id="unknown device"),
        pytest.param({"pins": {"frozenStages": 6}}, "should be less than or equal to 5", id="frozen stages"),
        pytest.param({"pins": {"steps": 0}}, "should be greater than or equal to 1", id="no steps"),
        pytest.param(
            {"pins": {"linearProbe": True, "frozenStages": 0}},
            "leave frozenStages out or write 5",
            id="a linear probe of more than the classifier",
        ),
        pytest.param({"pins": {"linearProbe": True, "mixup": 0.2}}, "leave mixup out or write 0", id="a mixed probe"),
        pytest.param(
            {"pins": {"linearProbe": True, "mirroring": True}},
            "leave mirroring out or write false",
            id="a mirrored one",
        ),
        pytest.param(
            {"pins": {"linearProbe": True, "augmentation": "RandAugment"}},
            "leave augmentation out or write Crop",
            id="an augmented one",
        ),
        pytest.param({"batchSize": 32, "pins": {"batchSize": 64}}, "is not what batchSize says", id="two batch sizes"),
        pytest.param({"grid": {"preset": "Best"}}, 'supported values: "Default", "Paper"', id="preset"),
        pytest.param({"strategy": "Best"}, 'supported values: "Race", "OneShot"', id="strategy"),
        pytest.param({"timelimit": "1m"}, 'unknown field "spec.timelimit"', id="misspelt field"),
        pytest.param(
            {"podTemplate": {"resources": {"limits": {"nvidia.com/gpu": 1}}}},
            "asks for nvidia.com/gpu, but device.type is cpu: remove it, or set device.type to cuda",
            id="GPU of a CPU pod",
        ),
        pytest.param(
            {"podTemplate": {"resources": {"requests": {"cpu": "two"}}}}, "spec.podTemplate.resources", id="quantity"
        ),
        pytest.param({"storage": {"endpoint": "localhost:8333"}}, "must be http://HOST[:PORT]", id="endpoint"),
    ],
)
def test_a_request_that_cannot_be_served_is_refused(cluster, tenant, overrides, message):
    assert message in refusal(cluster, a_request("r", tenant, **overrides))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        pytest.param(
            {"macroPhase": {"initialArchitectures": ["resnet50"]}},
            'initialArchitectures[0]: Invalid value: "resnet50": must be BLOCK_FIRSTCHANNEL_MACRO such as 02031-a02_64',
            id="an encoding that is none",
        ),
        pytest.param(
            {"macroPhase": {"initialArchitectures": ["731-_32_1-1-221-11121"]}}, "operations 0 to 6", id="an operation"
        ),
        pytest.param(
            {"macroPhase": {"candidateBlocks": ["031"]}}, "must be LAYERS-CONNECTIONS such as 02031-a02", id="a block"
        ),
        pytest.param({"blockPhase": {"macro": "1-2-2"}}, "must be four stages", id="three stages"),
        pytest.param({"blockPhase": {"maxStepTime": "0ms"}}, "must be a duration above zero", id="no step time"),
        pytest.param(
            {"blockPhase": {"maxStepTime": 80}},
            "spec.blockPhase.maxStepTime: Invalid value: 80: must be a duration above zero, such as 80ms",
            id="a step time without a unit",
        ),
        pytest.param({"blockPhase": {"firstChannels": 15}}, "must be even: the stem has half of it", id="odd channels"),
        pytest.param(
            {"space": {"firstChannels": [16, 33]}}, "spec.space.firstChannels[1]", id="odd channels of a space"
        ),
        pytest.param({"space": {"minBlocks": 20}}, "must not exceed maxBlocks", id="blocks"),
        pytest.param({"space": {"operations": [0, 0]}}, "Duplicate value", id="an operation twice"),
        pytest.param({"parallelism": 0}, "should be greater than or equal to 1", id="nobody works"),
        pytest.param(
            {"parallelism": 1, "macroPhase": {"generations": 2}},
            "spec.zoo.size: Invalid value: exceeds the architectures that the macro phase can evaluate",
            id="a zoo bigger than the search",
        ),
        pytest.param({"zoo": {"precision": "fp16"}}, "needs a GPU: use fp32 or bf16", id="half precision on a CPU"),
        pytest.param({"resumeFrom": "yesterday"}, "must be the UID of an earlier NASSearch", id="resume"),
        pytest.param({"limits": {"maxWallClock": "-1h"}}, "must be a duration above zero", id="negative limit"),
    ],
)
def test_a_search_that_cannot_run_is_refused(cluster, tenant, overrides, message):
    assert message in refusal(cluster, a_search("s", tenant, **overrides))


# --- What may be edited ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "spec"),
    [
        pytest.param("seed", {"seed": 7}, id="a field with a default"),
        pytest.param("dataset", {"dataset": {"uri": "s3://tenant/other"}}, id="the data"),
        pytest.param("dataset", {"dataset": {"maxImages": 5}}, id="an optional part added"),
        pytest.param("zoo", {"zoo": {"name": "other"}}, id="the zoo"),
        pytest.param("storage", {"storage": {"secretName": "s"}}, id="the Secret"),
        pytest.param("podTemplate", {"podTemplate": {"nodeSelector": {"a": "b"}}}, id="the nodes"),
        pytest.param("resumeFrom", {"resumeFrom": str(uuid.UUID(int=1))}, id="an optional field added"),
        pytest.param("macroPhase", {"macroPhase": {"generations": 21}}, id="a phase"),
    ],
)
def test_what_a_search_has_decided_cannot_be_edited(cluster, tenant, field, spec):
    name = f"fixed-{uuid.uuid4().hex[:6]}"
    create(cluster, a_search(name, tenant))
    done = edited(cluster, tenant, "nassearch", name, spec)
    assert done.returncode != 0
    assert f"spec.{field} {DECIDED} (only suspend, parallelism, limits can)" in done.stderr
    assert "delete this NASSearch and create another" in done.stderr


def test_an_optional_field_cannot_be_removed(cluster, tenant):
    create(cluster, a_search("resumed", tenant, resumeFrom=str(uuid.UUID(int=1))))
    done = edited(cluster, tenant, "nassearch", "resumed", {"resumeFrom": None})
    assert f"spec.resumeFrom {DECIDED}" in done.stderr


def test_suspend_parallelism_and_limits_of_a_search_may_be_edited(cluster, tenant):
    create(cluster, a_search("edited", tenant))
    spec = {"suspend": True, "parallelism": 8, "limits": {"maxEvaluations": 100}}
    assert edited(cluster, tenant, "nassearch", "edited", spec).returncode == 0
    assert edited(cluster, tenant, "nassearch", "edited", {"suspend": False, "limits": None}).returncode == 0


def test_the_time_limit_of_a_request_cannot_be_edited(cluster, tenant):
    create(cluster, a_request("in-time", tenant))
    done = edited(cluster, tenant, "finetunerequest", "in-time", {"timeLimit": "2m"})
    assert f"spec.timeLimit {DECIDED} (only suspend, limits can)" in done.stderr


def test_limits_of_a_request_may_be_edited_until_its_schedule_is_decided(cluster, tenant):
    create(cluster, a_request("limited", tenant))
    assert edited(cluster, tenant, "ftr", "limited", {"limits": {"maxParameters": 1000}}).returncode == 0
    schedule = {"model": "m", "learningRate": 0.1, "frozenStages": 0, "steps": 10, "predictedAccuracy": 0.5}
    patch = json.dumps({"status": {"schedule": schedule}})
    options = ("--subresource=status", "--type=merge", "-p", patch)
    cluster.kubectl("patch", "ftr", "limited", "-n", tenant, *options)
    done = edited(cluster, tenant, "ftr", "limited", {"limits": {"maxParameters": 2000}})
    assert "spec.limits can't be changed any more: the schedule is decided" in done.stderr
    assert edited(cluster, tenant, "ftr", "limited", {"suspend": True}).returncode == 0


def test_the_status_cannot_be_written_with_the_spec(cluster, tenant):
    stored = create(cluster, a_request("no-status", tenant) | {"status": {"phase": "Succeeded"}})
    assert "status" not in stored


def test_get_reads_like_a_dashboard(cluster, tenant):
    create(cluster, a_search("shown", tenant))
    status = {"phase": "BlockSearch", "progress": "block 2/3", "evaluated": 4, "best": "81.2%", "frontSize": 3}
    options = ("--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))
    cluster.kubectl("patch", "nas", "shown", "-n", tenant, *options)
    head, row = cluster.kubectl("get", "nas", "shown", "-n", tenant).stdout.splitlines()
    assert head.split() == ["NAME", "PHASE", "GENERATION", "EVALUATED", "BEST", "FRONT", "ZOO", "AGE"]
    assert row.split()[:-1] == ["shown", "BlockSearch", "block", "2/3", "4", "81.2%", "3", "fashion"]


# --- Who may do what ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "resource", "answer"),
    [
        pytest.param("get", "secrets", "no", id="Secrets are not read"),
        pytest.param("list", "secrets", "no", id="Secrets are not listed"),
        pytest.param("create", "pods", "no", id="pods are not started directly"),
        pytest.param("create", "pods/exec", "no", id="pods are not entered"),
        pytest.param("update", "nassearches", "no", id="specs are not written"),
        pytest.param("delete", "finetunerequests", "no", id="objects are not deleted"),
        pytest.param("update", "nassearches/status", "yes", id="statuses are written"),
        pytest.param("create", "jobs", "yes", id="Jobs are created"),
        pytest.param("create", "events", "yes", id="events are written"),
    ],
)
def test_the_operator_may_do_no_more_than_it_needs(cluster, tenant, verb, resource, answer):
    subresource = resource.partition("/")[2]
    options = (f"--subresource={subresource}",) if subresource else ()
    done = cluster.kubectl(
        "auth", "can-i", verb, resource.partition("/")[0], *options, "-n", tenant, f"--as={OPERATOR}", check=False
    )
    assert done.stdout.strip() == answer


def test_jobs_may_not_be_created_where_no_namespace_is_enrolled(cluster, tenant):
    done = cluster.kubectl("auth", "can-i", "create", "jobs", "-n", "default", f"--as={OPERATOR}", check=False)
    assert done.stdout.strip() == "no"


@pytest.mark.parametrize(
    ("job", "message"),
    [
        pytest.param({"image": "miner"}, f"may run only the image {IMAGE}", id="another image"),
        pytest.param({"owner": None}, "must be controlled by one NASSearch or FineTuneRequest", id="no owner"),
        pytest.param({"owner": "Deployment"}, "must be controlled by one NASSearch or FineTuneRequest", id="owner"),
        pytest.param({"token": True}, "must not mount a service account's token", id="token"),
    ],
)
def test_jobs_of_the_operator_are_ours_and_run_our_image(cluster, tenant, job, message):
    assert message in refusal(cluster, a_job(tenant, **job), f"--as={OPERATOR}")


def test_a_job_as_it_should_be_is_accepted(cluster, tenant):
    cluster.kubectl("create", "--dry-run=server", f"--as={OPERATOR}", "-f", "-", input=to_yaml(a_job(tenant)))


def test_a_job_from_before_an_upgrade_of_the_image_can_be_suspended_and_resumed(cluster, tenant):
    request = create(cluster, a_request("upgraded", tenant))
    job = a_job(tenant, image="ghcr.io/nasoa/runtime:older")
    job["metadata"]["ownerReferences"][0] |= {"name": "upgraded", "uid": request["metadata"]["uid"]}
    job["spec"]["suspend"] = True
    create(cluster, job)
    resume = ("patch", "job", "job", "-n", tenant, "--dry-run=server", "-p", '{"spec": {"suspend": false}}')
    cluster.kubectl(*resume, f"--as={OPERATOR}")


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        pytest.param({"storage": {"secretName": "s"}}, "spec.storage.secretName", id="Secret"),
        pytest.param({"dataset": {"uri": "pvc://claim/x"}}, "a pvc:// dataset", id="claim"),
        pytest.param(
            {"podTemplate": {"serviceAccountName": "admin"}},
            "spec.podTemplate.serviceAccountName",
            id="service account",
        ),
        pytest.param({"podTemplate": {"nodeSelector": {"a": "b"}}}, "spec.podTemplate.nodeSelector", id="node"),
        pytest.param(
            {"podTemplate": {"tolerations": [{"operator": "Exists"}]}}, "spec.podTemplate.tolerations", id="toleration"
        ),
        pytest.param(
            {"podTemplate": {"priorityClassName": "high"}}, "spec.podTemplate.priorityClassName", id="priority"
        ),
    ],
)
def test_who_may_not_create_pods_may_not_have_the_operator_do_it(cluster, tenant, overrides, field):
    for manifest in (a_request("r", tenant, **overrides), a_search("s", tenant, **overrides)):
        message = refusal(cluster, manifest, "--as=weak")
        assert f"{field} is only for who may create pods in this namespace: leave it out" in message


def test_who_may_create_only_our_kinds_may_ask_for_a_plain_request(cluster, tenant):
    cluster.kubectl("create", "--dry-run=server", "--as=weak", "-f", "-", input=to_yaml(a_request("plain", tenant)))


def test_an_editor_of_the_namespace_may_name_a_secret(cluster, tenant):
    cluster.kubectl("create", "rolebinding", "editor", "--clusterrole=edit", "--user=editor", "-n", tenant, check=False)
    manifest = a_request("with-secret", tenant, storage={"secretName": "s"})
    cluster.kubectl("create", "--dry-run=server", "--as=editor", "-f", "-", input=to_yaml(manifest))
