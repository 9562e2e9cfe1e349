//! Between Docker's JSON and the domain.

pub(crate) mod binds;
pub(crate) mod ports;
