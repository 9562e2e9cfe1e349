//! Which attributes there are, and what each may hold.

use crate::error::Error;
use crate::node::Map;

pub(crate) fn exclusive(_root: &Map) -> Result<(), Error> {
    Ok(())
}

pub(crate) fn check(_root: &Map) -> Result<(), Error> {
    Ok(())
}
