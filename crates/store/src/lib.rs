//! Crash-safe typed tables: one checked file a record.

mod checksum;
mod key;
mod table;

pub use table::{Damaged, Durability, OpenError, PutError, RemoveError, Table};
