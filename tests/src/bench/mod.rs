//! Measuring leadline beside what people know, in the same run, on the same parts.

mod http;
mod ingress;
mod large;
mod many;
mod organizations;
mod parts;
mod table;

pub use ingress::ingress;
pub use large::large;
pub use many::{backlog, latency, singles};
pub use organizations::organizations;
pub use parts::Parts;
pub use table::{Row, Rows};
