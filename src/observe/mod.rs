//! Owns what is seen of the program from outside: the log, times and statements as text, disk use.
//! Does not decide anything: nothing here is read by the data path.

pub mod alerts;
pub mod audit;
pub mod disk;
pub mod log;
pub mod progress;
pub mod redact;
pub mod rotate;
pub mod time;
pub mod bypass;
