"""Facts as data, each with source and date: accelerators, prices, architectures, reference results."""
