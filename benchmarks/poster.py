"""What MVT's authors claim: the figures of their poster and paper (BMVC 2023), quoted as theirs, to compare with.

Gopal and Amer, *Mobile Vision Transformer-based Visual Object Tracking*, BMVC 2023, arXiv 2309.05829. None of these
figures was measured by this project.
"""

from __future__ import annotations

from collections.abc import Sequence

MACHINE = "Intel i9-12900KF (16 cores), NVIDIA RTX 3090"

PARAMETERS = 5.5e6
TORCH_CPU_FPS, TORCH_GPU_FPS = 29.4, 175.0
ORT_CPU_FPS, ORT_RATIO = 70.0, 2.38
TRT_FPS, TRT_RATIO = 300.0, 1.71
TEMPLATE_SIDE, SEARCH_SIDE = 128, 256
DIMP_PARAMETERS, DIMP_GPU_FPS, DIMP_CPU_FPS = 26.1e6, 61.5, 15.0
SECOND_BEST_ORT_FPS = 50.0

Table = tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]
"""Head and rows."""

LIGHTWEIGHT: Table = (
    (
        "tracker",
        "GOT-10k OR / SR0.50 / SR0.75",
        "TrackingNet AUC / Pnorm / P",
        "NfS30 AUC / FR",
        "LaSOT AUC / FR",
        "fps, GPU",
    ),
    (
        ("LightTrack", "0.582 / 0.668 / 0.442", "72.9 / 79.3 / 69.9", "0.582 / 0.146", "0.524 / 0.116", "99"),
        ("STARK-Lightning", "0.596 / 0.696 / 0.479", "72.7 / 77.9 / 67.4", "0.619 / 0.111", "0.585 / 0.151", "205"),
        ("FEAR-XS", "0.573 / 0.681 / 0.455", "71.5 / 80.5 / 69.9", "0.487 / 0.207", "0.508 / 0.273", "275"),
        ("E.T.Track", "0.566 / 0.646 / 0.425", "74.0 / 79.8 / 69.8", "0.589 / 0.172", "0.597 / 0.162", "53"),
        ("MVT", "0.633 / 0.742 / 0.551", "74.8 / 81.5 / 71.9", "0.603 / 0.085", "0.553 / 0.137", "175"),
    ),
)
STATE_OF_THE_ART: Table = (
    ("tracker", "GOT-10k OR / SR0.50", "TrackingNet AUC / Pnorm", "parameters (M)", "fps, GPU / CPU"),
    (
        ("DiMP-50", "0.611 / 0.717", "74.0 / 80.1", "26.1", "61.5 / 15.0"),
        ("TransT", "0.671 / 0.768", "81.2 / 85.4", "23.0", "87.7 / 2.3"),
        ("STARK-ST101", "0.688 / 0.781", "82.0 / 86.9", "47.2", "80 / 7.8"),
        ("OSTrack-384", "0.740 / 0.835", "83.9 / 88.5", "92.1", "74.4 / 4.4"),
        ("MixFormer-L", "0.756 / 0.857", "83.9 / 88.9", "183.9", "45.2 / < 5"),
        ("MVT", "0.633 / 0.742", "74.8 / 81.5", "5.5", "175 (TensorRT 300) / 29.4 (ONNX Runtime 70)"),
    ),
)
FUSION: Table = (
    ("fusion", "GOT-10k OR / SR0.50", "TrackingNet AUC / Pnorm", "NfS30 AUC / FR", "LaSOT AUC / FR"),
    (
        ("without (trained again)", "0.600 / 0.703", "74.9 / 80.0", "0.566 / 0.122", "0.544 / 0.163"),
        ("with", "0.633 / 0.742", "74.8 / 81.5", "0.603 / 0.085", "0.553 / 0.137"),
    ),
)


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


def tables() -> str:
    """Format the poster's tables of accuracy in Markdown, marked as the authors'."""
    parts = [
        f"The authors' figures (poster and paper, BMVC 2023; their machine: {MACHINE}), quoted and not measured here. "
        "OR is AO, FR the failure rate, which they do not define.",
        "### Lightweight trackers (the authors' figures)",
        markdown(*LIGHTWEIGHT),
        "### State of the art (the authors' figures)",
        markdown(*STATE_OF_THE_ART),
        "### Feature fusion (the authors' figures; their network without fusion was trained again)",
        markdown(*FUSION),
    ]
    return "\n\n".join(parts)
