"""The registry sync: what MLflow's aliases say is what is served."""
