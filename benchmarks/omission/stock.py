"""Locust as its documentation has it: users that ask, wait for the answer, pause, ask again."""

from __future__ import annotations

import os

from locust import FastHttpUser, constant, task

BODY_VARIABLE = "LUPINE_STOCK_BODY"
PAUSE_SECONDS = 0.05


class StockUser(FastHttpUser):
    """Asks `digits` by JSON."""

    wait_time = constant(PAUSE_SECONDS)
    body = os.environ.get(BODY_VARIABLE, "")

    @task
    def infer(self) -> None:
        """One inference."""
        self.client.post(
            "/v2/models/digits/infer",
            data=self.body,
            headers={"Content-Type": "application/json"},
            name="digits",
        )
