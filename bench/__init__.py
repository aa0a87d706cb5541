"""Side-by-side timings, never part of the tests: `make bench`."""
