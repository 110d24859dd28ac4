"""Life on a rented machine: settings, synchronisation, cost, the guard, the provider."""
