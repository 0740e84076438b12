//! What a section of the configuration is: its keys, and what holds among them.

use super::shape::Shape;

/// States a section: its name among all, where it is, and each key with what it means, what it holds, and what else is to be said.
macro_rules! section {
    ($name:ident ($id:literal, $place:literal) $(. $more:ident ($($arg:expr),*))* {
        $( $(#[doc = $doc:literal])+ $key:ident : $shape:expr $(=> $( $option:ident ($($value:expr),*) )+ )? ; )+
    }) => {
        pub(crate) static $name: $crate::config::keys::section::Section = $crate::config::keys::section::Section::new($id, $place, &[
            $( $crate::config::keys::section::Key::new(stringify!($key), $shape, &[$($doc),+])
                $( $( .$option($($value),*) )+ )? ),+
        ]) $(.$more($($arg),*))*;
    };
}

pub(crate) use section;

/// A map with keys of our choosing, unlike `peers:`, whose keys are the operator's names.
#[derive(Debug)]
pub(crate) struct Section {
    /// Its name among all, which the reference and the schema use.
    pub(crate) id: &'static str,
    /// Where it is: `under a peer`.
    pub(crate) place: &'static str,
    keys: Keys,
    /// Keys of it that are stated elsewhere, of which exactly one must be there.
    alternatives: fn() -> &'static [Alternative],
    /// The keys of another section, which is the one to name.
    pub(super) is_copy: bool,
    /// What to do instead of switching it off.
    pub(super) off: Option<&'static str>,
    /// Keys that it has not, and what to write instead.
    pub(super) instead: &'static [(&'static str, &'static str)],
    /// Of each of these groups exactly one key must be there.
    pub(super) one_of: &'static [&'static [&'static str]],
    /// Of each of these groups at most one.
    pub(super) at_most_one_of: &'static [&'static [&'static str]],
    /// Each of these groups says one thing together: a map that has one of them inherits none of the others.
    pub(super) together: &'static [&'static [&'static str]],
    /// The first of these is nothing without the second.
    pub(super) with: &'static [(&'static str, &'static str)],
}

#[derive(Debug, Clone, Copy)]
enum Keys {
    Here(&'static [Key]),
    /// Those of another section, but for its own.
    SharedBy(&'static Section),
}

/// A key that is stated elsewhere, such as a kind of check.
#[derive(Debug)]
pub(crate) struct Alternative {
    pub(crate) key: &'static Key,
    /// The keys of the section that make no sense beside it.
    pub(crate) excludes: &'static [&'static str],
}

/// One key.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(super) shape: Shape,
    /// What it means, line by line.
    pub(super) doc: &'static [&'static str],
    pub(super) is_required: bool,
    /// It may be left out where something else says it.
    pub(super) is_said_elsewhere: bool,
    /// Only the section itself has it, and none that shares its keys.
    pub(super) is_own: bool,
    /// What it holds, in words, where these say more than the shape.
    pub(super) written: Option<&'static str>,
    /// What holds without it, in words.
    pub(super) default: Option<&'static str>,
    /// Other names that we take.
    pub(super) aliases: &'static [&'static str],
    /// Names that other programs, or plain English, have for it. We do not take them, and say what it is called here.
    pub(super) called: &'static [&'static str],
}

impl Section {
    pub(crate) const fn new(id: &'static str, place: &'static str, keys: &'static [Key]) -> Self {
        Self {
            id,
            place,
            keys: Keys::Here(keys),
            alternatives: || &[],
            is_copy: false,
            off: None,
            instead: &[],
            one_of: &[],
            at_most_one_of: &[],
            together: &[],
            with: &[],
        }
    }

    /// One that has the keys of another, but for those that are its own.
    pub(crate) const fn sharing(id: &'static str, place: &'static str, other: &'static Self) -> Self {
        let new = Self::new(id, place, &[]);
        Self {
            keys: Keys::SharedBy(other),
            is_copy: true,
            off: other.off,
            at_most_one_of: other.at_most_one_of,
            with: other.with,
            ..new
        }
    }

    pub(crate) const fn copy(self) -> Self {
        Self { is_copy: true, ..self }
    }

    pub(crate) const fn alternatives(self, alternatives: fn() -> &'static [Alternative]) -> Self {
        Self { alternatives, ..self }
    }

    pub(crate) const fn off(self, hint: &'static str) -> Self {
        Self { off: Some(hint), ..self }
    }

    pub(crate) const fn instead(self, instead: &'static [(&'static str, &'static str)]) -> Self {
        Self { instead, ..self }
    }

    pub(crate) const fn exactly_one_of(self, groups: &'static [&'static [&'static str]]) -> Self {
        Self { one_of: groups, ..self }
    }

    pub(crate) const fn only_one_of(self, groups: &'static [&'static [&'static str]]) -> Self {
        Self { at_most_one_of: groups, ..self }
    }

    pub(crate) const fn together(self, groups: &'static [&'static [&'static str]]) -> Self {
        Self { together: groups, ..self }
    }

    pub(crate) const fn with(self, pairs: &'static [(&'static str, &'static str)]) -> Self {
        Self { with: pairs, ..self }
    }

    /// Its keys, in the order of the reference.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        let (keys, all) = match self.keys {
            Keys::Here(keys) => (keys, true),
            Keys::SharedBy(Self { keys: Keys::Here(keys), .. }) => (*keys, false),
            // Nobody shares what is shared.
            Keys::SharedBy(Self { keys: Keys::SharedBy(_), .. }) => (&[][..], false),
        };
        let alternatives = (self.alternatives)().iter().map(|alternative| alternative.key);
        alternatives.chain(keys.iter().filter(move |key| all || !key.is_own))
    }

    /// The groups of keys of which exactly one must be there.
    pub(super) fn one_of(&self) -> impl Iterator<Item = Vec<&'static str>> {
        let names: Vec<&str> = (self.alternatives)().iter().map(|alternative| alternative.key.name).collect();
        let alternatives = Some(names).filter(|names| !names.is_empty());
        self.one_of.iter().map(|group| group.to_vec()).chain(alternatives)
    }

    /// The groups of keys of which at most one may be there.
    pub(super) fn at_most_one_of(&self) -> impl Iterator<Item = Vec<&'static str>> {
        let pairs = (self.alternatives)().iter().flat_map(|Alternative { key, excludes }| {
            excludes.iter().map(move |excluded| vec![key.name, *excluded])
        });
        self.at_most_one_of.iter().map(|group| group.to_vec()).chain(pairs)
    }

    /// The keys that say something else in the place of this one: where one is given, the other is not inherited.
    pub(in crate::config) fn instead_of<'k>(
        &self,
        key: &'k str,
    ) -> impl Iterator<Item = &'static str> + use<'k> {
        let groups = self.at_most_one_of.iter().chain(self.together);
        groups.filter(move |group| group.contains(&key)).flat_map(|group| group.iter().copied())
    }

    /// The names that are taken here; an alias stands behind the name that it is an alias of.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys().flat_map(|key| std::iter::once(key.name).chain(key.aliases.iter().copied()))
    }

    /// The least and the most that a key may hold which is a number.
    pub(in crate::config) fn range(&self, name: &str) -> (u32, u32) {
        let bound = |bound: u64| u32::try_from(bound).unwrap_or(u32::MAX);
        match self.keys().find(|key| key.name == name).map(|key| key.shape) {
            Some(Shape::Number(least, most)) => (bound(least), bound(most)),
            Some(_) | None => unreachable!("{name} is no number {}", self.place),
        }
    }

    /// Whether a name is taken here.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().any(|known| known == name)
    }
}

impl Key {
    pub(crate) const fn new(name: &'static str, shape: Shape, doc: &'static [&'static str]) -> Self {
        Self {
            name,
            shape,
            doc,
            is_required: false,
            is_said_elsewhere: false,
            is_own: false,
            written: None,
            default: None,
            aliases: &[],
            called: &[],
        }
    }

    pub(crate) const fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    pub(crate) const fn said_elsewhere(self) -> Self {
        Self { is_said_elsewhere: true, ..self }
    }

    pub(crate) const fn own(self) -> Self {
        Self { is_own: true, ..self }
    }

    pub(crate) const fn written(self, words: &'static str) -> Self {
        Self { written: Some(words), ..self }
    }

    pub(crate) const fn default(self, words: &'static str) -> Self {
        Self { default: Some(words), ..self }
    }

    pub(crate) const fn alias(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub(crate) const fn called(self, called: &'static [&'static str]) -> Self {
        Self { called, ..self }
    }

    /// What it means, in one line.
    pub(super) fn doc(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }
}
