"""Which of the agents that come with Goldenpath an app offers."""

from __future__ import annotations

from goldenpath.runtime.registry import Registry
from goldenpath.runtime.settings import Settings


def add_builtin_agents(registry: Registry, settings: Settings) -> None:
    """Add echo and scripted where `settings` offer them, and openai where it is configured. An app's own agent of the
    same name stays."""
    if settings.builtin_agents:
        from goldenpath.runtime.agents.echo import echo  # noqa: PLC0415 - only where it is offered
        from goldenpath.runtime.agents.scripted import scripted  # noqa: PLC0415

        if "echo" not in registry:
            registry.add("echo", echo, description="Says again what you said.")
        if "scripted" not in registry:
            registry.add("scripted", scripted, description="Does what a JSON program in your message says.")
    if settings.openai_base_url and settings.openai_model and "openai" not in registry:
        from goldenpath.runtime.agents.openai import openai_agent  # noqa: PLC0415 - imports an HTTP client

        agent = openai_agent(
            base_url=settings.openai_base_url, model=settings.openai_model, api_key=settings.openai_api_key
        )
        registry.add("openai", agent, description=f"{settings.openai_model}, over the network.")
