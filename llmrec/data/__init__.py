"""Sources, filters, splits and the cache: from files to a `Split`."""
