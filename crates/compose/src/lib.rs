//! Compose files → one canonical project → a plan of steps → their execution over Docker's API.

mod canonical;
mod cast;
mod consistency;
mod decode;
mod dotenv;
mod error;
mod extends;
mod files;
mod hash;
mod include;
mod interpolate;
mod load;
mod merge;
pub mod model;
mod node;
mod normalize;
mod number;
mod paths;
mod print;
mod resolve;
mod scalar;
mod schema;
mod select;
mod short;
mod unique;
mod untyped;
mod words;
mod yaml;

pub use error::Error;
pub use interpolate::Variable;
pub use load::{Options, Skip, load, plain_name};
pub use model::Project;
pub use untyped::{Untyped, load_untyped};
