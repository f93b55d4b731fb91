import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devcluster.node.environment import (
    Placement,
    Sources,
    command_line,
    container_environment,
    expand,
    field_value,
    references,
)
from devcluster.node.errors import ContainerConfigError

PLACEMENT = Placement("127.9.8.7", "127.0.0.1", {"cpu": "2", "memory": "8Gi"})


def a_pod(*containers, **metadata):
    return {
        "metadata": {"name": "p", "namespace": "team", "uid": "u-1", **metadata},
        "spec": {"nodeName": "here", "serviceAccountName": "robot", "containers": list(containers)},
    }


def a_container(**fields):
    return {"name": "main", "image": "any", **fields}


def variables_of(container, sources=None, base=None, **metadata):
    return container_environment(a_pod(container, **metadata), container, sources or Sources(), PLACEMENT, base or {})


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        pytest.param("a $(X) c", "a 1 c", id="known"),
        pytest.param("$(Y)", "$(Y)", id="unknown stays"),
        pytest.param("$$(X)", "$(X)", id="escaped"),
        pytest.param("$$$(X)", "$1", id="escaped, then known"),
        pytest.param("$X and $", "$X and $", id="other dollars stay"),
        pytest.param("$(X", "$(X", id="unclosed stays"),
    ],
)
def test_references_in_text_are_expanded_as_kubernetes_does(text, expanded):
    assert expand(text, {"X": "1"}) == expanded


@given(st.text(alphabet=st.characters(exclude_characters="$")))
def test_text_without_a_dollar_is_left_alone(text):
    assert expand(text, {"X": "1"}) == text


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param("metadata.name", "p", id="name"),
        pytest.param("metadata.namespace", "team", id="namespace"),
        pytest.param("metadata.uid", "u-1", id="uid"),
        pytest.param("metadata.labels['app']", "x", id="a label"),
        pytest.param("metadata.labels['none']", "", id="a missing label"),
        pytest.param("metadata.annotations['batch.kubernetes.io/job-completion-index']", "3", id="an annotation"),
        pytest.param("metadata.labels", 'app="x"\nq="say \\"hi\\""', id="all labels"),
        pytest.param("spec.nodeName", "here", id="node"),
        pytest.param("spec.serviceAccountName", "robot", id="service account"),
        pytest.param("status.podIP", "127.9.8.7", id="pod address"),
        pytest.param("status.hostIP", "127.0.0.1", id="host address"),
    ],
)
def test_fields_of_the_downward_api_have_their_values(path, value):
    pod = a_pod(labels={"app": "x", "q": 'say "hi"'}, annotations={"batch.kubernetes.io/job-completion-index": "3"})
    assert field_value(pod, path, PLACEMENT) == value


def test_an_unknown_field_is_a_configuration_error():
    with pytest.raises(ContainerConfigError, match="unsupported fieldPath: spec"):
        field_value(a_pod(), "spec.magic", PLACEMENT)


def test_later_variables_see_earlier_ones_and_win():
    container = a_container(
        envFrom=[{"configMapRef": {"name": "c"}, "prefix": "C_"}],
        env=[
            {"name": "A", "value": "$(C_K)!"},
            {"name": "B", "value": "$(A)$(LATER)"},
            {"name": "LATER", "value": "x"},
        ],
    )
    found = variables_of(container, Sources(config_maps={"c": {"K": "k"}}), base={"A": "base", "KEEP": "1"})
    assert found == {"KEEP": "1", "C_K": "k", "A": "k!", "B": "k!$(LATER)", "LATER": "x"}


def test_secrets_and_config_maps_are_read_by_key():
    container = a_container(
        env=[
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
            {"name": "N", "valueFrom": {"secretKeyRef": {"name": "absent", "key": "k", "optional": True}}},
        ]
    )
    sources = Sources(config_maps={"c": {"k": "open"}}, secrets={"s": {"k": "hidden"}, "absent": None})
    assert variables_of(container, sources) == {"S": "hidden", "C": "open"}
    assert set(references(container)) == {("Secret", "s"), ("ConfigMap", "c"), ("Secret", "absent")}


@pytest.mark.parametrize(
    ("origin", "message"),
    [
        pytest.param({"secretKeyRef": {"name": "gone", "key": "k"}}, 'secret "gone" not found', id="no secret"),
        pytest.param(
            {"configMapKeyRef": {"name": "c", "key": "x"}}, "couldn't find key x in ConfigMap team/c", id="no key"
        ),
        pytest.param({"fileKeyRef": {}}, "variable V: unsupported valueFrom", id="an unsupported origin"),
    ],
)
def test_a_reference_that_leads_nowhere_is_a_configuration_error(origin, message):
    container = a_container(env=[{"name": "V", "valueFrom": origin}])
    with pytest.raises(ContainerConfigError, match=message):
        variables_of(container, Sources(config_maps={"c": {"k": "v"}}))


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        pytest.param({"resource": "requests.cpu"}, "1", id="a fraction of a CPU counts as one"),
        pytest.param({"resource": "requests.cpu", "divisor": "1m"}, "500", id="in thousandths"),
        pytest.param({"resource": "limits.memory", "divisor": "1Mi"}, "1024", id="memory in mebibytes"),
        pytest.param({"resource": "limits.cpu", "divisor": "0"}, "2", id="an unset limit is what the node has"),
        pytest.param({"resource": "requests.memory"}, "0", id="an unset request is nothing"),
    ],
)
def test_resources_are_counted_in_units_of_the_divisor(reference, value):
    container = a_container(
        resources={"requests": {"cpu": "500m"}, "limits": {"memory": "1Gi"}},
        env=[{"name": "R", "valueFrom": {"resourceFieldRef": reference}}],
    )
    assert variables_of(container) == {"R": value}


@pytest.mark.parametrize(
    ("container", "arguments"),
    [
        pytest.param(a_container(command=["sh", "-c"], args=["echo $(X)"]), ["sh", "-c", "echo 1"], id="as written"),
        pytest.param(
            a_container(command=["python", "-V"]), [sys.executable, "-V"], id="python is the node's interpreter"
        ),
        pytest.param(a_container(command=["python3"]), [sys.executable], id="so is python3"),
    ],
)
def test_the_command_line_follows_from_command_and_arguments(container, arguments):
    assert command_line(container, {"X": "1"}) == arguments


IMAGES = {"example/app:1": ["python", "-m", "app"], "example/double:test": ["python3.x", "double.py"]}


def test_an_unknown_image_without_a_command_is_refused_with_what_to_do():
    with pytest.raises(ContainerConfigError, match="set command to the program that the image's entry point runs"):
        command_line(a_container(image="example/app:2"), {}, IMAGES)


@pytest.mark.parametrize(
    ("image", "arguments"),
    [
        pytest.param("example/double:test", ["python3.x", "double.py", "probe"], id="as written"),
        pytest.param("example/app:1", [sys.executable, "-m", "app", "probe"], id="python is the node's interpreter"),
    ],
)
def test_an_image_whose_command_is_known_needs_none_in_the_pod(image, arguments):
    assert command_line(a_container(image=image, args=["probe"]), {}, IMAGES) == arguments


def test_a_command_in_the_pod_wins_over_that_of_its_image():
    assert command_line(a_container(image="example/app:1", command=["true"]), {}, IMAGES) == ["true"]
