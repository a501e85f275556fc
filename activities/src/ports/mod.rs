//! The roles that the outside plays, as traits. Adapters implement them; activities only know the roles.

pub mod share;
