"""Two traces, their first difference, and its reason."""
