//! Owns what is done to branches as a whole.

pub mod fork;
