"""From a resolved configuration to a recorded run: one run, or many in a sweep."""
