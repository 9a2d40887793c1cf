"""Cluster specifications, and running Dask clusters made from them.

What is public is listed in ``__init__.pyi``; it is imported when it is first used: a worker needs no
specification, and making their models takes as long as a fifth of its start.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
