//! Digests, to see whether a definition is the one of the freeze.

use std::fmt::{self, Write as _};
use std::hash::Hasher as _;

use fnv::FnvHasher;

/// The digest of a value by its `Debug` form, without the text: FNV-1a with 64 bits. A secret is not in that form. A
/// later program may show the value in another form; then its digest is another one.
pub(crate) fn of_debug(value: &dyn fmt::Debug) -> u64 {
    let mut hash = Hash(FnvHasher::default());
    // A hasher takes everything.
    let _infallible = write!(hash, "{value:?}");
    hash.0.finish()
}

struct Hash(FnvHasher);

impl fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
