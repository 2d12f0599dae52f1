"""Run the main job end to end on this machine: train, profile, run HELM, score, rank and plot, without any download."""
