"""The agents that come with Goldenpath, one module each: echo, scripted, openai."""
