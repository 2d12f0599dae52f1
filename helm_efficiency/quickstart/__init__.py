"""The main job, end to end, on this machine: train, profile, run HELM, score, rank and plot; nothing is downloaded."""
