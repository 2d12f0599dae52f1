"""Score archives of many runs, in parallel and resumably."""
