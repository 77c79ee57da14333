"""One entry into `reproducible`, and the stack of them."""
