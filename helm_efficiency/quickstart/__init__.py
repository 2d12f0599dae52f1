"""The main job, end to end, on this machine: train, profile, run HELM, score, rank, plot. Everything real, nothing downloaded."""
