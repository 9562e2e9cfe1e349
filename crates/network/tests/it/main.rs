//! Networks on the real kernel, each test in network namespaces of its own.

mod attach;
mod beside;
mod dns;
mod host;

mod matrix;
mod networks;
mod policy;
mod publish;
mod restart;
mod rules;
mod six;
