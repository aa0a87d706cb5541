"""The configuration: TOML to frozen settings, or every fault at once.

`load` reads it; `tables` and `sources` say what may be written, `values` how. It opens no directory, starts
nothing, and does not know who uses it.
"""

from vcsproxy.config.load import FILE_NAME, VARIABLE, find, load
from vcsproxy.config.tables import Settings

__all__ = ["FILE_NAME", "VARIABLE", "Settings", "find", "load"]
