//! The definition of a check or a hook as the node sees it: an opaque value that can be compared.
//!
//! The node compares definitions, to learn whether a check or a hook has changed, and passes them on. Only the program that probes knows the
//! kinds of check.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// What a check asks. Clones share it.
#[derive(Clone)]
pub struct Question(Arc<dyn Comparable>);

/// Any value that can be compared with another of its type.
trait Comparable: Any + fmt::Debug + Send + Sync {
    fn equals(&self, other: &dyn Any) -> bool;
}

impl<T: Any + fmt::Debug + PartialEq + Send + Sync> Comparable for T {
    fn equals(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<Self>().is_some_and(|other| self == other)
    }
}

impl Question {
    /// A question that is this value to the program that asks it.
    pub fn new(asked: impl Any + fmt::Debug + PartialEq + Send + Sync) -> Self {
        Self(Arc::new(asked))
    }

    /// The value that the question was made from; `None` when it has another type.
    pub fn downcast_ref<T: Any>(&self) -> Option<&T> {
        let any: &dyn Any = &*self.0;
        any.downcast_ref()
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.0.equals(&*other.0)
    }
}

impl Eq for Question {}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_equal_when_their_values_are() {
        let tcp = Question::new(80_u16);
        assert_eq!(tcp, Question::new(80_u16));
        assert_ne!(tcp, Question::new(443_u16));
        assert_ne!(tcp, Question::new(80_u32), "a value of another type");
        assert_eq!(tcp.downcast_ref::<u16>(), Some(&80));
        assert_eq!(tcp.downcast_ref::<&str>(), None);
        assert_eq!(format!("{tcp:?}"), "80");
    }
}
