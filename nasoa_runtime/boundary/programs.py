"""The table of pod programs: what each is called, gets, gives back and runs. All who ask about a program ask here.

On the wire a document is the canonical JSON of its model with one key more, ``program``. It is added where documents
are written and checked where they are read, both here, so that no model has to know its program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json

from nasoa_runtime.boundary.base import Record, canonical_json, problems_of
from nasoa_runtime.boundary.errors import InvalidDocumentError, UnknownProgramError, WrongProgramError
from nasoa_runtime.boundary.inputs import (
    EvaluateInput,
    FinetuneInput,
    PodInput,
    PretrainInput,
    ProbeInput,
    ProfileInput,
)
from nasoa_runtime.boundary.results import (
    EvaluateResult,
    FinetuneResult,
    PodResult,
    PretrainResult,
    ProbeResult,
    ProfileResult,
)

PROGRAM = "program"
"""The key under which a document names its program."""
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Program:
    """What a pod can be started as."""

    name: str
    input: type[PodInput]
    result: type[PodResult]
    function: str
    """Where the pod finds what to run, as ``module:function``. Nobody else imports it, as it brings torch."""
    trains: bool
    """Whether it uses several GPUs by starting one worker for each."""


_MODULES = "nasoa_runtime.pods.programs"

PROGRAMS: tuple[Program, ...] = (
    Program("profile", ProfileInput, ProfileResult, f"{_MODULES}.profile:run", trains=False),
    Program("evaluate", EvaluateInput, EvaluateResult, f"{_MODULES}.evaluate:run", trains=True),
    Program("pretrain", PretrainInput, PretrainResult, f"{_MODULES}.pretrain:run", trains=True),
    Program("probe", ProbeInput, ProbeResult, f"{_MODULES}.probe:run", trains=False),
    Program("finetune", FinetuneInput, FinetuneResult, f"{_MODULES}.finetune:run", trains=True),
)
PROGRAMS_BY_NAME: Mapping[str, Program] = {program.name: program for program in PROGRAMS}


def program_named(name: object) -> Program:
    """The program of this name.

    Raises:
        UnknownProgramError: there is none.
    """
    found = PROGRAMS_BY_NAME.get(name) if isinstance(name, str) else None
    if found is None:
        raise UnknownProgramError(name, PROGRAMS_BY_NAME)
    return found


def program_of(document: PodInput | PodResult | type[PodInput | PodResult]) -> Program:
    """The program that an input, a result, or a model of either belongs to.

    Raises:
        UnknownProgramError: it is in no entry of the table.
    """
    kind = document if isinstance(document, type) else type(document)
    for program in PROGRAMS_BY_NAME.values():
        if kind in {program.input, program.result}:
            return program
    raise UnknownProgramError(kind.__name__, PROGRAMS_BY_NAME)


def dump_input(document: PodInput) -> bytes:
    """An input as a pod gets it; equal inputs have equal bytes."""
    return _dump(document)


def dump_result(result: PodResult) -> bytes:
    """A result as it is stored in S3; equal results have equal bytes."""
    return _dump(result)


def load_input(content: str | bytes, program: str | None = None) -> PodInput:
    """Read what :func:`dump_input` wrote.

    Args:
        content: the document.
        program: the program that it must be for; ``None`` takes the one that it names.

    Raises:
        InvalidDocumentError: it is not JSON, or a field of it is missing, unknown or out of bounds.
        UnknownProgramError: it names no program.
        WrongProgramError: it is for another program.
    """
    body, found = _opened("input", content, program)
    return _validated(found.input, body, found.name)


def load_result(content: str | bytes | Mapping[str, Any], program: str) -> PodResult:
    """Read what :func:`dump_result` wrote, or the same in a termination message. It is untrusted.

    Args:
        content: the document, as JSON or parsed already.
        program: the program that was asked for it.

    Raises:
        InvalidDocumentError: it is not JSON, or a field of it is missing, unknown or out of bounds.
        UnknownProgramError: it names no program.
        WrongProgramError: it is of another program.
    """
    body, found = _opened("result", content, program)
    return _validated(found.result, body, found.name)


def _dump(document: PodInput | PodResult) -> bytes:
    return canonical_json(document.model_dump(mode="json") | {PROGRAM: program_of(document).name})


def _opened(kind: str, content: str | bytes | Mapping[str, Any], wanted: str | None) -> tuple[dict[str, Any], Program]:
    """The body of a document without its program's name, and the program."""
    try:
        body = dict(content) if isinstance(content, Mapping) else from_json(content)
    except ValueError as error:
        raise InvalidDocumentError((f"Invalid JSON: {error}",)) from error
    if not isinstance(body, dict):
        raise InvalidDocumentError(("it is not a JSON object",))
    program = program_named(body.pop(PROGRAM, None))
    if wanted is not None and program.name != wanted:
        raise WrongProgramError(kind, program.name, wanted)
    return body, program


def _validated(kind: type[R], body: dict[str, Any], program: str) -> R:
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise InvalidDocumentError(problems_of(error, program)) from error
