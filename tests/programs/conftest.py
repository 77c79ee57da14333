collect_ignore_glob = ["*.py"]  # pytest would import the programs to look for doctests, and so run them
