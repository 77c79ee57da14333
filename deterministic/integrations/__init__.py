"""What frameworks need so that a training under them is exact; each module needs the framework that it is named for."""
