//! A Dockerfile becomes an image: stages in parallel, steps cached by content.

pub mod dockerfile;
