//! `vipcast schema`.

use super::{Failure, output};
use crate::config::keys::schema;

pub(super) fn schema() -> Result<(), Failure> {
    output::print_json(&schema::schema())
}
