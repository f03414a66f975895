//! placeholder until merge
use crate::dolt::Control;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct ForkError;
pub async fn fork(_c: &Control, _d: &str, _n: &str) -> Result<(), ForkError> {
    Err(ForkError)
}
