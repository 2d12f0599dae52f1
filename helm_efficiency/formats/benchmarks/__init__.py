"""Read the result files of benchmark tools, one module for each family of tools."""
