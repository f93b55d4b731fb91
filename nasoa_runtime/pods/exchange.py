"""The pod's side of the boundary: the input that it reads, the result and the termination message that it leaves.

The order at the end matters: the result is in S3 before the termination message names it, and the message is
written before the process exits. A restarted pod that finds its index's result repeats the message and does nothing
else, so nothing is ever computed twice.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from nasoa_runtime.boundary import (
    INPUT_VARIABLE,
    TERMINATION_MESSAGE_LIMIT_BYTES,
    TERMINATION_MESSAGE_VARIABLE,
    BoundaryError,
    InvalidDocumentError,
    PodInput,
    PodResult,
    TerminationMessage,
    WrongProgramError,
    digest,
    dump_result,
    load_input,
    load_result,
    program_of,
)
from nasoa_runtime.documents.keys import result_uri
from nasoa_runtime.pods.failures import BadInputError
from nasoa_runtime.pods.pod import Pod
from nasoa_runtime.pods.retrying import blaming, retrying
from nasoa_runtime.storage.s3 import StoreError

log = logging.getLogger(__name__)

PROBLEMS_SAID = 5


def read_input(program: str, environment: Mapping[str, str] = os.environ) -> PodInput:
    """Read and validate the input document.

    Raises:
        BadInputError: The variable is missing, or the document is not valid; the message names each wrong field.
    """
    text = environment.get(INPUT_VARIABLE)
    if not text:
        msg = f"The environment variable {INPUT_VARIABLE} is missing: set it to the input's JSON document."
        raise BadInputError(msg)
    try:
        return load_input(text, program)
    except WrongProgramError as error:
        msg = f"program: the input is for {error.found!r} but {program!r} was started; start that one."
        raise BadInputError(msg) from error
    except InvalidDocumentError as error:
        msg = f"{INPUT_VARIABLE} is not a valid input: {'; '.join(error.problems[:PROBLEMS_SAID])}."
        raise BadInputError(msg) from error
    except BoundaryError as error:
        msg = f"{INPUT_VARIABLE} is not a valid input: {error}."
        raise BadInputError(msg) from error


def found_result(document: PodInput, pod: Pod) -> TerminationMessage | None:
    """The termination message of a result that an earlier attempt of this index wrote, if there is one."""
    uri = result_uri(document.result_uri, pod.index)
    with blaming("outputURI"):
        found = retrying(lambda: pod.store.get(uri))
    return None if found is None else _message(document, pod, uri, found.body)


def publish(document: PodInput, result: PodResult, pod: Pod) -> TerminationMessage:
    """Write the result create-only and return the message that names what counts, ours or an earlier one."""
    uri = result_uri(document.result_uri, pod.index)
    with blaming("outputURI"):
        body = retrying(lambda: pod.store.create_or_read(uri, dump_result(result)))
    return _message(document, pod, uri, body)


def remove_superseded(pod: Pod) -> None:
    """Delete what the published result has made useless; what stays harms nobody."""
    for uri in pod.superseded:
        try:
            pod.store.delete(uri)
        except StoreError as error:
            log.warning("%s could not be deleted: %s", uri, error)


def write_termination_message(message: TerminationMessage) -> None:
    """Write ``message`` where the kubelet looks, without the inlined result if that is what makes it too long."""
    path = Path(os.environ.get(TERMINATION_MESSAGE_VARIABLE) or "/dev/termination-log")
    body = message.to_json()
    if len(body) > TERMINATION_MESSAGE_LIMIT_BYTES:
        body = message.model_copy(update={"result": None}).to_json()
    if len(body) > TERMINATION_MESSAGE_LIMIT_BYTES:
        # Characters outside ASCII take six bytes in JSON; 300 of the longest still fit.
        body = message.model_copy(update={"result": None, "message": message.message[:300]}).to_json()
    try:
        path.write_bytes(body)
    except OSError as error:
        log.warning("The termination message can't be written to %s: %s", path, error)


def _message(document: PodInput, pod: Pod, uri: str, body: bytes) -> TerminationMessage:
    program = program_of(document).name
    try:
        load_result(body, program)
        inlined = json.loads(body)
    except ValueError:
        log.warning("%s is not a valid result; the operator will refuse it.", uri)
        inlined = None
    return TerminationMessage(
        program=program, index=pod.index, result_key=uri, result_digest=digest(body), result=inlined
    )
