//! Content read by a look, kept for the store that follows at once, so that a small file crosses the wire once. Only a
//! shortcut: a miss reads again, and the store checks the file again either way.

use bytes::Bytes;
use leadline_domain::{Digest, Structure};
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

/// The content of one version of a file, with what was found in it.
#[derive(Debug, Clone)]
pub struct Content {
    /// All of it.
    pub bytes: Bytes,
    /// Its digest.
    pub digest: Digest,
    /// Its structural check.
    pub structure: Structure,
}

/// A cache bounded by bytes; the oldest goes first.
pub struct ContentCache {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    map: HashMap<String, Content>,
    order: VecDeque<String>,
    bytes: usize,
}

impl ContentCache {
    /// A cache of at most `limit` bytes of content.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Keeps content under a version key.
    pub fn put(&self, key: &str, content: Content) {
        let mut i = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if content.bytes.len() > self.limit {
            return;
        }
        if let Some(old) = i.map.remove(key) {
            i.bytes -= old.bytes.len();
        } else {
            i.order.push_back(key.to_owned());
        }
        i.bytes += content.bytes.len();
        i.map.insert(key.to_owned(), content);
        while i.bytes > self.limit {
            let Some(oldest) = i.order.pop_front() else { break };
            if let Some(c) = i.map.remove(&oldest) {
                i.bytes -= c.bytes.len();
            }
        }
    }

    /// Takes content out.
    pub fn take(&self, key: &str) -> Option<Content> {
        let mut i = self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let c = i.map.remove(key)?;
        i.bytes -= c.bytes.len();
        i.order.retain(|k| k != key);
        Some(c)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(n: usize) -> Content {
        let structure = crate::inspect::structure_of(&[]);
        Content { bytes: Bytes::from(vec![0; n]), digest: Digest::of(b""), structure }
    }

    #[test]
    fn it_stays_within_its_limit() {
        let c = ContentCache::new(100);
        for n in 0..10 {
            c.put(&n.to_string(), content(30));
        }
        assert!(c.take("0").is_none());
        assert!(c.take("9").is_some() && c.take("8").is_some() && c.take("7").is_some() && c.take("6").is_none());
        assert_eq!(c.inner.lock().unwrap().bytes, 0);
        c.put("big", content(101));
        assert!(c.take("big").is_none());
    }
}
