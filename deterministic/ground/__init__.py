"""Plain facts about the process and what was asked of it; nothing here imports torch."""
