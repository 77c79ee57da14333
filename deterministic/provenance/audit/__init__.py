"""What breaks reproducibility, found in source without running it; nothing here imports more than Python's library."""
