"""Pearl data: synthesise, validate, replay, shard and audit expert tool trajectories."""
