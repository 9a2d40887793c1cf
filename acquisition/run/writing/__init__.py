"""Writing a run: its accounts, its blocks, its log, and how it is made and taken up again."""
