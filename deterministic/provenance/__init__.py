"""What a run was: collected as flat facts, kept in files, and compared by what can alter bits."""
