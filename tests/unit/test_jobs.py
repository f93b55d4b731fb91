import pytest

from nasoa_operator.jobs import Owner, build_job, child_name, dataset_claim, dataset_uri_in_pod
from nasoa_operator.settings import Settings
from nasoa_runtime.api.parts import DeviceSpec, PodTemplate, StorageSpec
from nasoa_runtime.boundary import DatasetReference, ProbeInput, load_input

OWNER = Owner("nasoa.io/v1alpha1", "FineTuneRequest", "team", "digits", "0a1b2c3d-0000-4000-8000-000000000002")


def a_job(dataset="s3://tenant/digits", device=None, template=None, storage=None, **arguments):
    pod_input = ProbeInput(
        result_uri="s3://tenant/results",
        dataset=DatasetReference(uri=dataset_uri_in_pod(dataset)),
        batch_size=32,
        time_cap_seconds=6,
        models=(),
    )
    return build_job(
        owner=OWNER,
        step="probe",
        pod_input=pod_input,
        completions=1,
        device=device or DeviceSpec(),
        storage=storage or StorageSpec(secret_name="storage"),
        template=template or PodTemplate(),
        settings=Settings(),
        dataset=dataset,
        **arguments,
    )


def pod_of(job):
    return job["spec"]["template"]["spec"]


def variables_of(job):
    return {v["name"]: v for v in pod_of(job)["containers"][0]["env"]}


@pytest.mark.parametrize("name", ["a", "a" * 63, "fashion.mnist-on.two-levels.with-a-long-name.and-dots-everywhere."])
@pytest.mark.parametrize("step", ["probe", "macro-g0123-evaluate-retry", "block-g0000-profile0"])
def test_a_childs_pods_have_valid_host_names_for_up_to_ten_thousand_indices(name, step):
    owner = Owner("nasoa.io/v1alpha1", "NASSearch", "team", name, OWNER.uid)
    child = child_name(owner, step)
    assert len(f"{child}-9999") <= 63
    assert child.endswith(f"-0a1b2c3d-{step}")
    assert "." not in child
    assert "--" not in child


def test_equal_inputs_make_equal_jobs():
    assert a_job() == a_job()
    assert a_job()["metadata"]["annotations"] != a_job("s3://tenant/other")["metadata"]["annotations"]


def test_a_job_goes_with_its_owner_and_carries_its_input():
    job = a_job()
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("FineTuneRequest", OWNER.uid, True)
    assert load_input(variables_of(job)["NASOA_INPUT"]["value"], "probe").batch_size == 32


def test_the_table_says_which_program_a_jobs_pods_run():
    job = a_job()
    assert pod_of(job)["containers"][0]["args"] == ["probe"]
    assert job["metadata"]["labels"]["app.kubernetes.io/component"] == "probe"


def test_disruptions_and_checkpoints_never_count_and_what_would_fail_again_ends_the_index():
    rules = a_job()["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "Ignore", "FailIndex"]
    assert rules[1]["onExitCodes"]["values"] == [75]
    assert rules[2]["onExitCodes"]["values"] == [64, 65]


def test_a_pod_meets_the_restricted_standard():
    pod = pod_of(a_job())
    container = pod["containers"][0]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False


def test_everything_temporary_goes_to_the_one_place_that_can_be_written():
    job = a_job()
    (mount,) = pod_of(job)["containers"][0]["volumeMounts"]
    variables = variables_of(job)
    assert {variables[name]["value"] for name in ("TMPDIR", "HOME", "NASOA_WORK_DIRECTORY")} == {mount["mountPath"]}


def test_credentials_are_named_and_never_read():
    variables = variables_of(a_job())
    assert variables["AWS_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"] == {
        "name": "storage",
        "key": "AWS_ACCESS_KEY_ID",
        "optional": False,
    }
    assert variables["NASOA_ZOO_ACCESS_KEY_ID"]["valueFrom"]["secretKeyRef"]["optional"] is True
    assert "AWS_ACCESS_KEY_ID" not in variables_of(a_job(storage=StorageSpec()))


def test_a_claim_is_mounted_read_only_and_its_path_is_the_pods_dataset():
    job = a_job("pvc://fashion-mnist/train")
    volume = next(v for v in pod_of(job)["volumes"] if v["name"] == "dataset")
    mount = next(m for m in pod_of(job)["containers"][0]["volumeMounts"] if m["name"] == "dataset")
    assert volume["persistentVolumeClaim"] == {"claimName": "fashion-mnist", "readOnly": True}
    assert (mount["subPath"], mount["readOnly"]) == ("train", True)
    assert load_input(variables_of(job)["NASOA_INPUT"]["value"], "probe").dataset.uri == mount["mountPath"]


@pytest.mark.parametrize(
    ("uri", "claim"),
    [
        pytest.param("pvc://images/a/b/", ("images", "a/b"), id="a path"),
        pytest.param("pvc://images", ("images", ""), id="no path"),
        pytest.param("s3://bucket/images", None, id="no claim"),
    ],
)
def test_a_claim_is_told_from_other_uris(uri, claim):
    assert dataset_claim(uri) == claim


def test_a_gpu_brings_cores_and_memory_and_its_product_picks_the_node():
    job = a_job(device=DeviceSpec(type="cuda", count=2, product="NVIDIA-H100"))
    resources = pod_of(job)["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == "2"
    assert resources["requests"] == {"cpu": "8", "memory": "32Gi"}
    assert pod_of(job)["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-H100"}


def test_what_the_template_says_about_resources_wins():
    template = PodTemplate.model_validate({"resources": {"requests": {"cpu": "3"}}})
    resources = pod_of(a_job(template=template))["containers"][0]["resources"]
    assert resources["requests"] == {"cpu": "3", "memory": "2Gi"}


def test_a_job_for_a_queue_waits_to_be_admitted():
    job = a_job(template=PodTemplate(queue_name="team"))
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert job["spec"]["suspend"] is True
    assert "suspend" not in a_job()["spec"]
