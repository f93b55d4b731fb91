"""Every document that is persisted, as a frozen model with its format version, and every key."""
