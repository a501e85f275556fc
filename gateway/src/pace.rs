//! How slowly a sender may send what is held in memory while it comes.

use std::time::Duration;

/// In all, bytes a second, after the time for silence.
const SLOWEST: u64 = 16 << 10;

/// How long something of which `bytes` have come may have taken, where silence may last for `idle`.
pub(crate) fn allowance(idle: Duration, bytes: usize) -> Duration {
    idle + Duration::from_millis(bytes as u64 * 1_000 / SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_may_take_longer_and_not_for_ever() {
        let idle = Duration::from_secs(30);
        assert_eq!(allowance(idle, 0), idle);
        assert_eq!(allowance(idle, 16 << 20), Duration::from_secs(30 + 1_024));
    }
}
