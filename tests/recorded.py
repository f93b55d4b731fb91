"""Recorded runs for tests, of which a test says only what matters to it."""

import csv
from dataclasses import replace
from pathlib import Path

from nasoa_runtime.online.records import COLUMNS, RecordedRun

PLAIN = RecordedRun(
    curve="1", dataset="DOG", model="beit", imagenet_top1=85.2, n_classes=19.0, imgs_per_class=40.0, n_train=760.0,
    lr=0.001, pct_to_freeze=0.6, batch_size=16.0, linear_probing=0.0, epochs=2.0, iterations=100.0, acc=0.5,
    best_acc=0.6, gpu_seconds=12.0, final=True, status="complete", opt="adam", opt_betas=(0.9, 0.999), momentum=0.9,
    weight_decay=0.01, layer_decay=0.65, clip_grad=None, amp=0.0, sched="cosine", warmup_epochs=5.0, warmup_lr=1e-6,
    decay_epochs=90.0, decay_rate=0.1, patience_epochs=10.0, mixup=0.4, mixup_prob=0.25, cutmix=0.0, smoothing=0.05,
    drop=0.0, stoch_norm=0.0, data_augmentation="none", auto_augment=None, ra_num_ops=2.0, ra_magnitude=8.0,
    bss_reg=0.0, cotuning_reg=0.0, delta_reg=0.0, sp_reg=0.0, model_family="beit", model_params_m=86.0,
    model_gmacs=17.0, model_img_size=224.0, imagenet_top5=97.0,
)  # fmt: skip


def a_point(**changes) -> RecordedRun:
    """A point of a recorded run."""
    return replace(PLAIN, **changes)


def a_curve(curve: str, *accuracies: float, second_each: float = 10.0, **changes) -> list[RecordedRun]:
    """A finished run that has these accuracies after 1, 2, ... epochs of ten batches and so many seconds each."""
    return [
        a_point(
            curve=curve,
            epochs=float(epoch),
            iterations=10.0 * epoch,
            acc=accuracy,
            best_acc=max(accuracies[:epoch]),
            gpu_seconds=second_each * epoch,
            final=epoch == len(accuracies),
            **changes,
        )
        for epoch, accuracy in enumerate(accuracies, start=1)
    ]


def write(path: Path, *curves: list[RecordedRun]) -> Path:
    """A file of records."""
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for curve in curves:
            writer.writerows({name: _cell(getattr(point, name)) for name in COLUMNS} for point in curve)
    return path


def _cell(value) -> str:
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
