//! sys
pub mod seqpacket;
