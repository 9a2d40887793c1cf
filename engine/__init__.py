"""Algorithms, and what carries them out: planning, execution, ledger, results.

What is public is listed in ``__init__.pyi``; it is imported when it is first used: who only reads
the settings, as a recorder does, needs no Dask.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
