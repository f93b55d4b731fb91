"""Every key under which something is kept in S3, built and taken apart here and nowhere else.

The operator and administrators write the system bucket; pods write below their tenant's output URI.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nasoa_runtime.search.individuals import LEVELS, Level

_SUFFIX = ".json"


def generation_part(generation: int) -> str:
    """The part of a key or of a step that names a generation, from 0."""
    return f"g{generation:04d}"


# --- System bucket ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SearchPart:
    """Which of a search's documents: its name, and where in the levels it belongs."""

    name: str
    """Such as ``spec``, ``end`` (of a level), ``evaluations`` (of a generation), ``profile`` (of a list)."""
    level: Level | None = None
    generation: int | None = None
    list_index: int | None = None

    def __str__(self) -> str:
        """The part of the key below the search's prefix, without its suffix."""
        name = self.name if self.list_index is None else f"{self.name}-{self.list_index}"
        generation = None if self.generation is None else generation_part(self.generation)
        return "/".join(part for part in (self.level, generation, name) if part is not None)


_SEARCH_PART = re.compile(
    rf"(?:(?P<level>{'|'.join(LEVELS)})/)?(?:g(?P<generation>\d{{4,}})/)?(?P<name>[a-z]+)(?:-(?P<list>\d+))?"
)


@dataclass(frozen=True)
class SearchKeys:
    """Keys of one search's documents; ``uid`` is that of the search whose records these are."""

    uid: str

    @property
    def prefix(self) -> str:
        """Below which all of them are."""
        return f"searches/{self.uid}/"

    def of(self, part: SearchPart) -> str:
        """The key of a document."""
        return f"{self.prefix}{part}{_SUFFIX}"

    def part_of(self, key: str) -> SearchPart | None:
        """Which document is at ``key``; ``None`` for a key that no document of this search has."""
        inside = key.removeprefix(self.prefix).removesuffix(_SUFFIX)
        found = _SEARCH_PART.fullmatch(inside)
        if found is None:
            return None
        level: Level | None = next((level for level in LEVELS if level == found["level"]), None)
        generation = None if found["generation"] is None else int(found["generation"])
        part = SearchPart(found["name"], level, generation, None if found["list"] is None else int(found["list"]))
        return part if self.of(part) == key else None


@dataclass(frozen=True)
class RequestKeys:
    """Keys of one request's documents."""

    uid: str

    @property
    def prefix(self) -> str:
        """Below which all of them are."""
        return f"requests/{self.uid}/"

    def of(self, name: str) -> str:
        """The key of the document ``name``."""
        return f"{self.prefix}{name}{_SUFFIX}"

    def name_of(self, key: str) -> str:
        """The name of the document at ``key``."""
        return key.removeprefix(self.prefix).removesuffix(_SUFFIX)


@dataclass(frozen=True)
class PredictorKeys:
    """Keys of one zoo's predictor."""

    zoo: str

    @property
    def prefix(self) -> str:
        """Below which all of them are."""
        return f"predictors/{self.zoo}/"

    @property
    def state(self) -> str:
        """The predictor as it is now."""
        return f"{self.prefix}state.npz"

    @property
    def outcomes(self) -> str:
        """Below which the requests' outcomes are."""
        return f"{self.prefix}outcomes/"

    def outcome(self, uid: str) -> str:
        """What request ``uid`` showed."""
        return f"{self.outcomes}{uid}{_SUFFIX}"

    def uid_of(self, key: str) -> str:
        """The UID of the request whose outcome is at ``key``."""
        return key.removeprefix(self.outcomes).removesuffix(_SUFFIX)

    def applied(self, uid: str) -> str:
        """The marker that request ``uid`` has been learned."""
        return f"{self.prefix}applied/{uid}{_SUFFIX}"

    def trees(self, digest: str) -> str:
        """Trees that a state names by their digest."""
        return f"{self.prefix}models/{digest}{_SUFFIX}.gz"

    @property
    def adoptions(self) -> str:
        """Below which it is said which trees were adopted."""
        return f"{self.prefix}adopted/"

    def adoption(self, through: int) -> str:
        """That trees fitted to outcomes up to version ``through`` were adopted."""
        return f"{self.adoptions}{through:08d}{_SUFFIX}"

    def replaced(self, digest: str) -> str:
        """A state that a rebuild has replaced."""
        return f"{self.prefix}replaced/{digest[:12]}.npz"


ZOOS = "zoo/"
"""Below which all zoos are."""


@dataclass(frozen=True)
class ZooKeys:
    """Keys of one zoo."""

    zoo: str

    @property
    def manifest(self) -> str:
        """What the zoo consists of."""
        return f"{ZOOS}{self.zoo}/manifest{_SUFFIX}"

    def weights(self, model: str, digest: str) -> str:
        """A model's weights; the key changes with them."""
        return f"{ZOOS}{self.zoo}/models/{model}/{digest[:12]}.safetensors"

    def prototypes(self, source: str, digest: str) -> str:
        """The class prototypes of a source of the zoo's models."""
        return f"{ZOOS}{self.zoo}/sources/{source}-{digest[:12]}.npz"


def zoo_of_manifest(key: str) -> str | None:
    """The zoo whose manifest is at ``key``; ``None`` for a key of anything else."""
    found = re.fullmatch(rf"{ZOOS}([^/]+)/manifest{_SUFFIX}", key)
    return found[1] if found else None


def extractor_key(name: str) -> str:
    """The registration of a feature extractor."""
    return f"{ZOOS}extractors/{name}{_SUFFIX}"


def extractor_weights_key(name: str, digest: str) -> str:
    """A feature extractor's weights."""
    return f"{ZOOS}extractors/{name}-{digest[:12]}.safetensors"


# --- Below a tenant's output URI -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OutputUris:
    """Addresses below ``spec.outputURI`` of one object, as pods get them."""

    output_uri: str
    uid: str

    @property
    def root(self) -> str:
        """Below which everything of the object is."""
        return f"{self.output_uri.rstrip('/')}/{self.uid}"

    def results(self, step: str) -> str:
        """Below which the pods of ``step`` write their results, one for each index."""
        return f"{self.root}/results/{step}"

    @property
    def weights(self) -> str:
        """Below which a search's pretraining pods write weights."""
        return f"{self.root}/weights"

    @property
    def prototypes(self) -> str:
        """The class prototypes of a search's dataset."""
        return f"{self.weights}/prototypes.npz"

    @property
    def model(self) -> str:
        """Below which a request's deliverable is."""
        return f"{self.root}/model"

    @property
    def work(self) -> str:
        """Below which a request's checkpoint and clock are."""
        return f"{self.root}/work"

    @property
    def probes(self) -> str:
        """Below which probes of equal datasets are kept, for all objects of this output URI."""
        return f"{self.output_uri.rstrip('/')}/probes"


def result_uri(prefix: str, index: int) -> str:
    """The result of pod ``index`` of a step whose results are below ``prefix``."""
    return f"{prefix.rstrip('/')}/{index}{_SUFFIX}"


def evaluation_checkpoint_uri(prefix: str, index: int) -> str:
    """The checkpoint of an evaluation, beside its result."""
    return f"{prefix.rstrip('/')}/{index}.checkpoint"


def pretrained_weights_uri(prefix: str, index: int) -> str:
    """The weights that pretraining pod ``index`` writes below ``prefix``."""
    return f"{prefix.rstrip('/')}/{index}/weights.safetensors"


def pretraining_checkpoint_uri(prefix: str, index: int) -> str:
    """The checkpoint of pretraining pod ``index``."""
    return f"{prefix.rstrip('/')}/{index}/checkpoint"


def finetuning_checkpoint_uri(work_uri: str) -> str:
    """The one checkpoint of a request."""
    return f"{work_uri.rstrip('/')}/checkpoint.safetensors"


def races_uri(work_uri: str) -> str:
    """Below which a race's decisions and checkpoints are."""
    return f"{work_uri.rstrip('/')}/race/"


def race_decision_uri(work_uri: str, rung: int) -> str:
    """What was decided about a rung, from 0, in which all start."""
    return f"{races_uri(work_uri)}{rung:04d}{_SUFFIX}"


def race_checkpoint_uri(work_uri: str, number: int) -> str:
    """The checkpoint of the run of regime ``number``, from 0."""
    return f"{races_uri(work_uri)}{number:02d}.safetensors"


def heartbeats_uri(work_uri: str) -> str:
    """Below which the attempts of a request say how long they have run."""
    return f"{work_uri.rstrip('/')}/clock/"


def heartbeat_uri(work_uri: str, attempt: int) -> str:
    """What attempt ``attempt``, from 1, has said last."""
    return f"{heartbeats_uri(work_uri)}{attempt:04d}{_SUFFIX}"


def probe_uri(cache_uri: str, digest: str) -> str:
    """The probe of a dataset, zoo and device with this digest."""
    return f"{cache_uri.rstrip('/')}/{digest}{_SUFFIX}"


def delivered_uri(output_uri: str, name: str) -> str:
    """One file of a request's deliverable."""
    return f"{output_uri.rstrip('/')}/{name}"
