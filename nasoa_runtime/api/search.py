"""The spec of a NASSearch: what is searched, on what, and how long.

Docstrings of classes and fields are what `kubectl explain` prints; see :mod:`nasoa_runtime.api.parts`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

from nasoa_runtime.api.base import SpecPart
from nasoa_runtime.api.parts import DatasetSpec, DeviceSpec, PodTemplate, StorageSpec
from nasoa_runtime.api.rules import Distinct, Rule
from nasoa_runtime.api.types import (
    BatchSize,
    BlockEncoding,
    Duration,
    Encoding,
    Epochs,
    EvenChannels,
    ImageSize,
    LearningRate,
    MacroEncoding,
    Name,
    Operation,
    OutputUri,
    Precision,
    SearchUid,
    Seed,
)
from nasoa_runtime.architecture.space import BlockSpace, MacroSpace
from nasoa_runtime.architecture.structure import MAX_CONNECTIONS, MAX_LAYERS, OPERATIONS, STAGES


class PhaseSpec(SpecPart):
    """What both levels of the search have: how many generations, and how one architecture is evaluated."""

    generations: int = Field(default=20, ge=1, le=1000)
    """Number of generations; each evaluates as many new architectures as parallelism says."""
    epochs: Epochs = 10
    """Length of the training by which an architecture is evaluated, in epochs (passes over the training images). More
    of them tell good architectures from bad ones better, and take longer."""
    batch_size: BatchSize = 64
    """Number of images in one training step, both when step times are measured and when architectures are evaluated."""
    image_size: ImageSize = 224
    """Width and height to which images are scaled, in pixels, both for measuring step times and for evaluating."""
    precision: Precision = "fp32"
    """Number format of the training, both for measuring step times and for evaluating: fp32, bf16 or fp16. fp16 needs a
    GPU."""
    learning_rate: LearningRate = 0.1
    """Peak learning rate of an evaluation: it is reached after a linear warm-up, and a cosine takes it to zero."""
    max_step_time: Duration | None = None
    """The longest that one training step of an architecture may take on the reference device, such as 80ms. Slower
    architectures are replaced before anything is trained. When left out, any step time will do."""
    elite_size: int | None = Field(default=None, ge=1, le=10_000)
    """Number of the best architectures from which parents are drawn. When left out, it is twice the parallelism."""
    evaluation_time_limit: Duration | None = None
    """Time after which an evaluation is given up and counts as failed, such as 2h; how long one should take is set by
    epochs. When left out, an evaluation may take any time."""


class BlockPhaseSpec(PhaseSpec):
    """The first level: block structures, each put into one and the same small network."""

    first_channels: EvenChannels = 16
    """Number of channels after the stem of the small network that each block is put into. It must be even."""
    macro: MacroEncoding = "1-2-2-2"
    """Macro structure of the small network that each block is put into: the channel multipliers of its blocks, with a -
    between its four stages."""


class MacroPhaseSpec(PhaseSpec):
    """The second level: whole networks that are built of the best blocks."""

    blocks: int = Field(default=10, ge=1, le=100)
    """Number of blocks that are taken over from the first level's Pareto front: those that contribute most to its
    hypervolume."""
    candidate_blocks: tuple[BlockEncoding, ...] = Field(default=(), max_length=100)
    """Blocks to build of besides those that the first level finds, such as 02031-a02. When left out, there are no
    others."""
    initial_architectures: tuple[Encoding, ...] = Field(default=(), max_length=100)
    """Architectures to start the first generation with, such as 02031-a02_64_111-2111-211-11. When left out, all of it
    is drawn at random."""


class SpaceSpec(SpecPart):
    """Bounds of what is searched. The defaults are the published space."""

    operations: Annotated[tuple[Operation, ...], Distinct()] = Field(
        default=(0, 1, 2, 3, 4), min_length=1, max_length=len(OPERATIONS)
    )
    """The operations that a block's layers may have: 0 is a 3x3 convolution, 1 a 1x1 convolution, 2 and 3 are 3x3
    convolutions in 2 and in 4 groups, 4 is a depthwise 3x3 convolution, 5 a 3x3 convolution in groups of 32 channels,
    and 6 a depthwise-separable one."""
    max_layers: int = Field(default=MAX_LAYERS, ge=1, le=MAX_LAYERS)
    """The most layers that a block may have."""
    max_connections: int = Field(default=MAX_CONNECTIONS, ge=0, le=MAX_CONNECTIONS)
    """The most connections that a block may have besides the residual from its input to its output."""
    first_channels: Annotated[tuple[EvenChannels, ...], Distinct()] = Field(
        default=(16, 32, 48, 64), min_length=1, max_length=16
    )
    """The numbers of channels that a network may have after its stem. They must be even."""
    min_blocks: int = Field(default=STAGES, ge=STAGES, le=64)
    """The fewest blocks that a network may have in all four stages together."""
    max_blocks: int = Field(default=16, ge=STAGES, le=64)
    """The most blocks that a network may have in all four stages together."""
    max_stage_blocks: int = Field(default=8, ge=1, le=64)
    """The most blocks that one stage may have."""
    min_widening: int = Field(default=8, ge=1, le=256)
    """The least product of all channel multipliers: how many times wider a network is at its end than after its
    stem."""
    max_widening: int = Field(default=16, ge=1, le=256)
    """The greatest product of all channel multipliers: how many times wider a network is at its end than after its
    stem."""


class SearchLimits(SpecPart):
    """Where the search ends early. It then publishes what it has, and says which limit it has reached."""

    max_evaluations: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """The most architectures that are evaluated, on both levels together; a generation that runs is not cut off. When
    left out, the numbers of generations decide."""
    max_failed_evaluations: int | None = Field(default=None, ge=0, le=2**31 - 1)
    """The most evaluations that may fail, on both levels together, before the search ends. When left out, any number
    may."""
    max_wall_clock: Duration | None = None
    """Time after the search's creation at which it ends, such as 72h. When left out, it may take any time."""
    max_gpu_hours: float | None = Field(default=None, alias="maxGPUHours", gt=0, le=1e9)
    """The most GPU-hours that the pods may take: their hours times the GPUs of each pod (times its cores on CPUs). When
    left out, they may take any number."""


class ZooSpec(SpecPart):
    """The zoo that the search fills, and how its models are pretrained."""

    name: Name
    """Name of the zoo to publish to. A zoo belongs to the search that made it; no other search can publish to it."""
    size: int = Field(default=8, ge=1, le=100)
    """Number of models to pretrain and publish, spread over the Pareto front from the fastest to the most accurate."""
    epochs: Epochs = 100
    """Length of a model's pretraining, in epochs (passes over the training images)."""
    batch_size: BatchSize = 64
    """Number of images in one training step of the pretraining."""
    image_size: ImageSize = 224
    """Width and height to which images are scaled, in pixels, when the models are pretrained and whenever they are used
    later."""
    precision: Precision = "fp32"
    """Number format of the pretraining: fp32, bf16 or fp16. fp16 needs a GPU."""
    learning_rate: LearningRate = 0.1
    """Peak learning rate of the pretraining: it is reached after a linear warm-up, and a cosine takes it to zero."""
    label_smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Label smoothing of the pretraining's loss, from 0 (none) to less than 1."""
    max_images: int | None = Field(default=None, ge=1, le=2**31 - 1)
    """The most images to pretrain on, taken from the classes in proportion. When left out, all images of the dataset
    are used, whatever dataset.maxImages says."""
    time_limit: Duration | None = None
    """Time after which one model's pretraining is given up, such as 24h; how long it should take is set by epochs. When
    left out, it may take any time."""
    step_time_batch_size: BatchSize = 32
    """Number of images in a step of the published step-time table. Choose what fine-tuning requests will have as their
    batchSize, so that their probes need not measure."""
    source: Name | None = None
    """Name of the dataset that the models are pretrained on, by which requests are told how similar their images are.
    When left out, it is the zoo's name."""


class SearchDatasetSpec(DatasetSpec):
    """Images in class folders that are searched on."""

    classes: int = Field(default=10, ge=2, le=100_000)
    """Number of classes of the network whose step time is measured: as many as the dataset has."""


def _no_fp16_on_cpu(part: str, precision_of: Callable[[NASSearchSpec], Precision]) -> Rule:
    return Rule(
        f"self.device.type == 'cuda' || self.{part}.precision != 'fp16'",
        lambda spec: spec.device.type == "cuda" or precision_of(spec) != "fp16",
        "needs a GPU: use fp32 or bf16, or set device.type to cuda",
        field_path=f".{part}.precision",
    )


class NASSearchSpec(SpecPart):
    """What to search, on which data and device, and for how long. Everything but suspend, parallelism and limits is
    decided at creation."""

    RULES = (
        Rule(
            "self.zoo.size <= self.parallelism * self.macroPhase.generations",
            lambda spec: spec.zoo.size <= spec.parallelism * spec.macro_phase.generations,
            "exceeds the architectures that the macro phase can evaluate (parallelism times macroPhase.generations):"
            " lower zoo.size, or raise one of them",
            field_path=".zoo.size",
        ),
        # Not on the space itself: the rules of a part are tried on its default, `{}`, before that is filled in.
        Rule(
            "self.space.minBlocks <= self.space.maxBlocks",
            lambda spec: spec.space.min_blocks <= spec.space.max_blocks,
            "must not exceed maxBlocks",
            field_path=".space.minBlocks",
        ),
        Rule(
            "self.space.minWidening <= self.space.maxWidening",
            lambda spec: spec.space.min_widening <= spec.space.max_widening,
            "must not exceed maxWidening",
            field_path=".space.minWidening",
        ),
        _no_fp16_on_cpu("blockPhase", lambda spec: spec.block_phase.precision),
        _no_fp16_on_cpu("macroPhase", lambda spec: spec.macro_phase.precision),
        _no_fp16_on_cpu("zoo", lambda spec: spec.zoo.precision),
    )

    dataset: SearchDatasetSpec
    """The images on which architectures are evaluated and the zoo's models are pretrained."""
    storage: StorageSpec = StorageSpec()
    """How the pods reach S3. When left out, they use the identity of their service account."""
    output_uri: OutputUri = Field(alias="outputURI")
    """Where the pods keep checkpoints, results and weights, s3://BUCKET/PREFIX. Each search writes below a folder that
    is named by its UID, so several may share one prefix."""
    device: DeviceSpec = DeviceSpec()
    """The reference device on which step times are measured, and what each worker pod has. When left out, it is one CPU
    core."""
    parallelism: int = Field(default=4, ge=1, le=1000)
    """Number of worker pods, and so of new architectures in each generation. May be edited; it then holds from the next
    generation on."""
    seed: Seed = 0
    """Number from which everything random follows: the same seed and the same measurements give the same search."""
    low_resolution_stem: bool = False
    """Whether networks begin without the two strides of the stem. Set it for images of 32 x 32 pixels and less."""
    block_phase: BlockPhaseSpec = BlockPhaseSpec()
    """The first level, which searches block structures."""
    macro_phase: MacroPhaseSpec = MacroPhaseSpec()
    """The second level, which searches whole networks of the best blocks."""
    space: SpaceSpec = SpaceSpec()
    """Bounds of what is searched. When left out, it is the published space."""
    limits: SearchLimits = SearchLimits()
    """Where the search ends early; it then publishes what it has. May be edited. When left out, it ends by itself."""
    zoo: ZooSpec
    """The zoo that the best networks are published to, and how they are pretrained for it."""
    suspend: bool = False
    """Whether to hold the search: true stops its pods, and what is recorded stays. May be edited."""
    pod_template: PodTemplate = PodTemplate()
    """Resources, nodes, service account and queue of the pods. When left out, they suit the device."""
    resume_from: SearchUid | None = None
    """UID of an earlier search of this namespace whose records in S3 are taken over, so that nothing of it is done
    again. The rest of the spec must be the same. When left out, the search starts anew."""

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
