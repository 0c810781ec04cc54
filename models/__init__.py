"""Trains, exports and packages the models that `triton_repo/` holds."""
