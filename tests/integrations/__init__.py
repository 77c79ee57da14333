"""The integrations, each against the framework itself."""
