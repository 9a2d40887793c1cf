"""Print the folder of the C header, for ``cc -I``."""

from forebay.acquisition.sources.shared_memory import header_path

print(header_path().parent)
