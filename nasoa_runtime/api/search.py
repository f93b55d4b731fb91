"""NASSearch: what is searched, on what, how long, and what came of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, computed_field

from nasoa_runtime.api.base import SpecPart, StatusPart, rule, rules
from nasoa_runtime.api.conditions import Conditions, Message
from nasoa_runtime.api.types import (
    BatchSize,
    BlockEncoding,
    DatasetSpec,
    DeviceSpec,
    Duration,
    Encoding,
    Epochs,
    Fraction,
    ImageSize,
    LearningRate,
    MacroEncoding,
    Name,
    OutputUri,
    PodTemplate,
    Precision,
    Seed,
    StorageSpec,
    Timestamp,
    percent,
)
from nasoa_runtime.architecture.space import BlockSpace, MacroSpace

EvenChannels = Annotated[
    int, Field(ge=2, le=1024, json_schema_extra=rules(rule("self % 2 == 0", "must be even: the stem has half of it")))
]
Count = Annotated[int, Field(ge=0, le=2**53)]


class PhaseSpec(SpecPart):
    """What both levels of the search have: how many generations, and how one architecture is evaluated."""

    generations: int = Field(default=20, ge=1, le=1000)
    """Generations of N architectures each."""
    epochs: Epochs = 10
    """Length of one evaluation's training."""
    batch_size: BatchSize = 64
    """Of the training and of the measured step time."""
    image_size: ImageSize = 224
    """Of the training and of the measured step time."""
    precision: Precision = "fp32"
    """Of the training and of the measured step time."""
    learning_rate: LearningRate = 0.1
    """Peak of the schedule: a linear warm-up, then a cosine to zero."""
    max_step_time: Duration | None = None
    """Slowest training step that a proposed architecture may have on the reference device; any without it."""
    elite_size: int | None = Field(default=None, ge=1, le=10_000)
    """Architectures that parents are drawn from; twice the parallelism without it."""
    evaluation_time_limit: Duration | None = None
    """Cap on one evaluation; the budget itself is `epochs`."""


class BlockPhaseSpec(PhaseSpec):
    """The first level: blocks, each put into one small fixed macro structure."""

    first_channels: EvenChannels = 16
    """First channel of the network that each block is put into."""
    macro: MacroEncoding = "1-2-2-2"
    """Macro structure of the network that each block is put into."""


class MacroPhaseSpec(PhaseSpec):
    """The second level: macro structures with the best blocks."""

    blocks: int = Field(default=10, ge=1, le=100)
    """How many blocks of the first level's front are candidates (largest hypervolume contribution first)."""
    candidate_blocks: tuple[BlockEncoding, ...] = Field(default=(), max_length=100)
    """Blocks that are candidates besides those found."""
    initial_architectures: tuple[Encoding, ...] = Field(default=(), max_length=100)
    """Architectures that the first generation starts with."""


class SpaceSpec(SpecPart):
    """Bounds of what is searched."""

    operations: tuple[Annotated[int, Field(ge=0, le=6)], ...] = Field(
        default=(0, 1, 2, 3, 4), min_length=1, max_length=7, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Operations of a block's layers: 0 conv 3x3, 1 conv 1x1, 2 and 3 conv 3x3 in 2 and 4 groups, 4 depthwise,
    5 conv 3x3 in groups of 32 channels, 6 depthwise-separable."""
    max_layers: int = Field(default=3, ge=1, le=3)
    """Most layers of a block."""
    max_connections: int = Field(default=3, ge=0, le=3)
    """Most connections of a block besides its residual."""
    first_channels: tuple[EvenChannels, ...] = Field(
        default=(16, 32, 48, 64), min_length=1, max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """First channels of a macro structure."""
    min_blocks: int = Field(default=4, ge=4, le=64)
    """Fewest blocks of a network, all stages together."""
    max_blocks: int = Field(default=16, ge=4, le=64)
    """Most blocks of a network, all stages together."""
    max_stage_blocks: int = Field(default=8, ge=1, le=64)
    """Most blocks of one stage."""
    min_widening: int = Field(default=8, ge=1, le=256)
    """Least product of all channel multipliers of a network."""
    max_widening: int = Field(default=16, ge=1, le=256)
    """Greatest product of all channel multipliers of a network."""


class SearchLimits(SpecPart):
    """Where the search ends early; it then publishes what it has, and says which limit struck."""

    max_evaluations: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Evaluations of both levels."""
    max_failed_evaluations: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """Failed evaluations of both levels."""
    max_wall_clock: Duration | None = None
    """Time since the search started."""
    max_gpu_hours: float | None = Field(default=None, alias="maxGPUHours", gt=0, le=1e9)
    """Hours times GPUs of all pods that ran."""


class ZooSpec(SpecPart):
    """The zoo that the search fills, and how its members are pretrained."""

    name: Name
    """Zoo to publish to; it belongs to the search that made it."""
    size: int = Field(default=8, ge=1, le=100)
    """Models to pretrain and publish (K), spread best over the Pareto front."""
    epochs: Epochs = 100
    """Length of the pretraining."""
    batch_size: BatchSize = 64
    """Of the pretraining."""
    image_size: ImageSize = 224
    """Of the pretraining, and the published models' input size."""
    precision: Precision = "fp32"
    """Of the pretraining."""
    learning_rate: LearningRate = 0.1
    """Peak of the pretraining's schedule."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Of the pretraining's loss."""
    max_images: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """Pretrain on at most this many images, stratified by class; all without it."""
    time_limit: Duration | None = None
    """Cap on one model's pretraining; the budget itself is `epochs`."""
    step_time_batch_size: BatchSize = 32
    """Batch size of the published step-time table: what fine-tuning requests use."""
    source: Name | None = None
    """Name under which the dataset's class prototypes are published; the zoo's name without it."""


class SearchDatasetSpec(DatasetSpec):
    """Images that are searched on."""

    classes: int = Field(default=10, ge=2, le=100_000)
    """Classes of the network whose step time is measured: the dataset's own number."""


_NEEDS_CUDA = "needs a GPU: use fp32 or bf16, or set device.type to cuda"


class NASSearchSpec(SpecPart):
    """What is searched, on which data and device, and with which budget."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.zoo.size <= self.parallelism * self.macroPhase.generations",
                "exceeds the architectures that the macro phase can evaluate (parallelism times"
                " macroPhase.generations): lower zoo.size, or raise one of them",
                field_path=".zoo.size",
            ),
            # Not on the space itself: the rules of a part are tried on its default, `{}`, before that is filled in.
            rule(
                "self.space.minBlocks <= self.space.maxBlocks",
                "must not exceed maxBlocks",
                field_path=".space.minBlocks",
            ),
            rule(
                "self.space.minWidening <= self.space.maxWidening",
                "must not exceed maxWidening",
                field_path=".space.minWidening",
            ),
            *(
                rule(
                    f"self.device.type == 'cuda' || self.{part}.precision != 'fp16'",
                    _NEEDS_CUDA,
                    field_path=f".{part}.precision",
                )
                for part in ("blockPhase", "macroPhase", "zoo")
            ),
        )
    )

    dataset: SearchDatasetSpec
    """Images that are searched on, and that the zoo's models are pretrained on."""
    storage: StorageSpec = StorageSpec()
    """How pods reach S3."""
    output_uri: OutputUri = Field(alias="outputURI")
    """`s3://BUCKET/PREFIX` under which pods keep checkpoints, results and weights."""
    device: DeviceSpec = DeviceSpec()
    """Reference device of step times, and what each worker has."""
    parallelism: int = Field(default=4, ge=1, le=1000)
    """Worker pods, and so the new architectures of each generation (N). May be edited, for the next generation."""
    seed: Seed = 0
    """Everything random derives from it."""
    low_resolution_stem: bool = False
    """Stem without its strides, for images of 32 x 32 and less."""
    block_phase: BlockPhaseSpec = BlockPhaseSpec()
    """The first level."""
    macro_phase: MacroPhaseSpec = MacroPhaseSpec()
    """The second level."""
    space: SpaceSpec = SpaceSpec()
    """Bounds of what is searched."""
    limits: SearchLimits = SearchLimits()
    """Where the search ends early. May be edited."""
    zoo: ZooSpec
    """What the result becomes."""
    suspend: bool = False
    """Stop the pods and wait. May be edited."""
    pod_template: PodTemplate = PodTemplate()
    """What the pods have beside what the operator decides."""
    resume_from: str | None = Field(
        default=None,
        max_length=36,
        json_schema_extra=rules(
            rule(
                "self.matches('^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')", "must be the UID of an earlier NASSearch"
            )
        ),
    )
    """UID of a search whose records in S3 are taken over."""

    def block_space(self) -> BlockSpace:
        """The block structures that may be proposed, and the network in which they are compared."""
        return BlockSpace(
            operations=self.space.operations,
            max_layers=self.space.max_layers,
            max_connections=self.space.max_connections,
            small_macro=f"{self.block_phase.first_channels}_{self.block_phase.macro}",
        )

    def macro_space(self) -> MacroSpace:
        """The macro structures that may be proposed."""
        return MacroSpace(
            first_channels=self.space.first_channels,
            min_blocks=self.space.min_blocks,
            max_blocks=self.space.max_blocks,
            max_stage_blocks=self.space.max_stage_blocks,
            min_widening=self.space.min_widening,
            max_widening=self.space.max_widening,
        )


# --- Status ------------------------------------------------------------------------------------------------------

SearchPhase = Literal[
    "Pending", "BlockSearch", "MacroSearch", "Pretraining", "Publishing", "Succeeded", "Failed", "Suspended"
]


class FrontMember(StatusPart):
    """A Pareto-optimal architecture."""

    architecture: str = Field(max_length=256)
    """Canonical encoding."""
    accuracy: Fraction
    """Validation top-1 after the evaluation's short training."""
    step_seconds: float = Field(gt=0)
    """Measured training step time on the reference device."""


class SpaceSize(StatusPart):
    """Members of the space in use."""

    block: Count | None = None
    """Blocks."""
    macro: Count | None = None
    """Macro structures."""


class PublishedZoo(StatusPart):
    """What the search gave to the zoo."""

    name: str = Field(max_length=63)
    """Zoo."""
    models: int = Field(default=0, ge=0)
    """Models published by this search."""
    version: int | None = Field(default=None, ge=0)
    """Version of the manifest that has them."""


class NASSearchStatus(StatusPart):
    """What came of the search so far; the full record is in S3."""

    observed_generation: int = Field(default=0, ge=0)
    """Generation of the object that this status describes."""
    phase: SearchPhase = "Pending"
    """Where the search is."""
    conditions: Conditions = ()
    """Accepted, Progressing, Complete, Failed; PodsRunnable and StorageReachable once something stood in the way."""
    level: Literal["block", "macro"] | None = None
    """Level in work."""
    generation: int | None = Field(default=None, ge=0)
    """Generation in work, from 1."""
    generations: int | None = Field(default=None, ge=0)
    """Generations of this level."""
    evaluated: int = Field(default=0, ge=0)
    """Architectures evaluated, both levels."""
    failed: int = Field(default=0, ge=0)
    """Evaluations that failed, both levels."""
    best_accuracy: Fraction | None = None
    """Best validation top-1 of this level."""
    front_size: int | None = Field(default=None, ge=0)
    """Members of this level's Pareto front."""
    hypervolume: float | None = Field(default=None, ge=0)
    """Of this level's Pareto front."""
    front: tuple[FrontMember, ...] = Field(default=(), max_length=10)
    """Head of the front, most accurate first."""
    eta: Timestamp | None = None
    """When the search should be done."""
    zoo: PublishedZoo | None = None
    """What was published."""
    space_size: SpaceSize | None = None
    """Members of the space in use."""
    start_time: Timestamp | None = None
    """When the search was accepted."""
    completion_time: Timestamp | None = None
    """When it succeeded or failed."""
    gpu_seconds: float = Field(default=0, ge=0)
    """Seconds times GPUs of all pods that ran."""
    message: Message | None = None
    """What the search does or waits for, for people."""

    @computed_field(json_schema_extra={"maxLength": 32})  # type: ignore[prop-decorator]
    @property
    def progress(self) -> str | None:
        """Level and generation of those planned, such as `block 2/3`."""
        if self.level is None or self.generation is None or self.generations is None:
            return None
        return f"{self.level} {self.generation}/{self.generations}"

    @computed_field(json_schema_extra={"maxLength": 16})  # type: ignore[prop-decorator]
    @property
    def best(self) -> str | None:
        """Best accuracy in percent."""
        return percent(self.best_accuracy)
