"""What can record frames: one module each, all with the contents that `Peer` names."""
