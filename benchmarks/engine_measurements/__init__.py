"""What is measured of the engine, beside ``benchmarks/engine.py``."""
