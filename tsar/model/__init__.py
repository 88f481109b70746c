"""The decoder: config, layers, cache, and the module that composes them with tokenizer and head."""
