"""Profiling a program on this machine, and drawing where its time goes."""
