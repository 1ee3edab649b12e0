"""Language models: how each is loaded, how it tokenises, encodes and generates."""
