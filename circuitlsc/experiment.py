"""Where `judge` was before version 0.2; it warns, and goes with 0.3."""

import warnings

from circuitlsc.validation.judge import judge as judge

warnings.warn(
    "circuitlsc.experiment goes with version 0.3: use  from circuitlsc import judge", DeprecationWarning, stacklevel=2
)
