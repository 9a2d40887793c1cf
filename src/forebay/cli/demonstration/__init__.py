"""The main job from end to end: a replayed camera, a live job, a batch job, a picture."""
