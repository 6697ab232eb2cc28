"""A scripted model behind OpenAI's protocol, over real HTTP: for notebooks, demos and tests without a key."""
