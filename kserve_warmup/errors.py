"""The errors that cross the package's edge: one clear line each, with the exit code the command line gives them."""


class WarmupError(Exception):
    """Something is wrong that a person can mend; the message says what, where and how, in one line."""

    exit_code = 2


class SampleError(WarmupError):
    """A sample, a sample set or a traffic record cannot be used as it is."""


class MissingPackageError(WarmupError):
    """A package that only some formats need is not installed; the message names the extra that brings it."""


class TritonConfigError(WarmupError):
    """A Triton model cannot be given the warm-up that was asked for; nothing was written."""


class WarmupFailedError(WarmupError):
    """A check failed or the server never became warm."""

    exit_code = 1
