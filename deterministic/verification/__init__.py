"""Run it again and compare the bits: `verify`, `assert_reproducible`, `compare_levels`."""
