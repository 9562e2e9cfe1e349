//! Between Docker's JSON and the domain.

pub(crate) mod create;
pub(crate) mod host;
pub(crate) mod show;
pub(crate) mod view;
