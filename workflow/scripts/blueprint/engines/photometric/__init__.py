"""The photometric engine: a clip under other light, air, lens and sensor."""
