"""Whether a precision keeps fp32's accuracy, judged over clips: trajectories, not tensors."""
