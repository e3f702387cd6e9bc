"""The errors that a user can meet: each message is one sentence that says what is wrong and what to do next."""

from __future__ import annotations


class UserError(Exception):
    """A mistake or a condition that the user can fix; the command line prints the message and exits with code 2."""

    exit_code = 2


class MissingExtra(UserError):
    """A feature needs packages that are not installed.

    Args:
        feature: What was asked for, as the subject of a sentence.
        extra: Optional dependency group that provides it.
        missing: Module that could not be imported.
    """

    def __init__(self, feature: str, extra: str, missing: str) -> None:
        self.extra = extra
        super().__init__(
            f"{feature} needs the package '{missing}', which is not installed: "
            f"run  pip install 'mvt-deploy[{extra}]'  (in a clone: pip install '.[{extra}]')."
        )


class CheckpointError(UserError):
    """A checkpoint cannot be read, or does not hold exactly the network's parameters."""


class BundleError(UserError):
    """A bundle is missing, damaged, of a newer format or not what its manifest says."""


class ParityError(UserError):
    """An exported graph differs from the network by more than its stated tolerance."""


class SourceError(UserError):
    """A video source cannot be opened, is empty or ends in the middle of a frame."""


class SinkError(UserError):
    """An output cannot be written."""


class BoxError(UserError):
    """A box is not four finite numbers, has no size, or lies outside the frame."""


class BackendError(UserError):
    """A backend is unknown, unavailable here, or refused its input."""


class NonFiniteError(BackendError):
    """The network returned a value that is not finite, which never becomes a box."""


class TrainingError(UserError):
    """A training run cannot start or go on: a setting, the data, or what a folder already holds."""


class CalibrationError(UserError):
    """A calibration set or its cache of activation ranges cannot be read, written or used."""
