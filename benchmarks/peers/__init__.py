"""`make bench-peers`: one small model, one machine, served by Lupine and by what else there is."""
