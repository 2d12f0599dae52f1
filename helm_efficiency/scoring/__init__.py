"""Records + store -> scored tables; re-scoring of whole archives."""
