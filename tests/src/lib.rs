//! End-to-end, contract and replay tests of leadline against real parts.
