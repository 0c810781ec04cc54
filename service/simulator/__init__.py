"""Batching and admission in virtual time: the same pure rules, without an engine and a clock."""
