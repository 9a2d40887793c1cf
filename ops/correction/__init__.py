"""Taking out of the frames what the camera and the optics put in."""
