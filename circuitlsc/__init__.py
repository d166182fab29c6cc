"""circuitlsc: compile a sparse-coding posterior into an analog circuit whose thermal noise samples it.

Names are imported when they are first used: a worker process then starts in half the time. ``__init__.pyi`` lists them.
"""

import lazy_loader

_getattr, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("circuitlsc")
    return _getattr(name)
