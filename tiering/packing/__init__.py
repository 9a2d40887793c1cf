"""Small objects together in one, for storage that counts objects or is slow at each."""
