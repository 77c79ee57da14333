"""Which samples come when: the order that is ours, a sampler's, a stream's."""
