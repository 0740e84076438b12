//! `vipcast openapi`.

use super::{Failure, output};
use crate::control::openapi::document;

pub(super) fn openapi() -> Result<(), Failure> {
    output::print_json(&document())
}
