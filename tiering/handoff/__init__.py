"""Handing a run over to somewhere else: as a bundle, or sent to another site."""
