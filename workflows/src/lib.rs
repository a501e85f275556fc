//! Deterministic Temporal workflows and the contracts of their activities.
