//! AS_PATH: the ASes a route came through (RFC 4271 §4.3), with two or four octets each (RFC 6793).

use std::fmt;

use bytes::{BufMut as _, BytesMut};
use serde::Serialize;

use super::iana::as_segment;
use super::parse::{self, Parsed};
use super::{AsWidth, Asn};

/// The most ASes that one segment holds on the wire: its count is one octet.
const MAX_SEGMENT: usize = 255;

/// A path; empty for a route that starts in the sender's own AS. Shown as routers do: `65001 65002 {1,2}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct AsPath {
    /// Nearest first. A segment of more than 255 ASes is split when encoded, an empty one left out.
    pub segments: Vec<AsSegment>,
}

/// A stretch of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AsSegment {
    /// In the order of travel, nearest first.
    Sequence(Vec<Asn>),
    /// In no order; the result of aggregation.
    Set(Vec<Asn>),
    /// A sequence inside a confederation (RFC 5065).
    ConfedSequence(Vec<Asn>),
    /// A set inside a confederation (RFC 5065).
    ConfedSet(Vec<Asn>),
}

impl AsPath {
    /// The path through `ases`, nearest first; empty for none.
    #[must_use]
    pub fn sequence(ases: impl IntoIterator<Item = Asn>) -> Self {
        let ases: Vec<Asn> = ases.into_iter().collect();
        Self { segments: if ases.is_empty() { Vec::new() } else { vec![AsSegment::Sequence(ases)] } }
    }

    /// Every AS in the path, sets and confederations included.
    pub fn asns(&self) -> impl Iterator<Item = Asn> {
        self.segments.iter().flat_map(AsSegment::asns).copied()
    }

    /// The length for route selection: a set counts as one, a confederation as nothing (RFC 4271 §9.1.2.2,
    /// RFC 5065 §5.3).
    #[must_use]
    pub fn hops(&self) -> usize {
        self.segments.iter().map(AsSegment::hops).sum()
    }

    /// `None` for a segment of unknown type, without ASes or longer than the input, and for AS 0
    /// (RFC 7606 §7.2, RFC 7607 §2).
    pub(super) fn decode(input: &[u8], width: AsWidth) -> Option<Self> {
        // Type, count and one AS are the least that a segment takes.
        let least = 2 + octets(width);
        let mut segments = Vec::with_capacity(usize::from(input.len() >= least));
        let mut input = input;
        while !input.is_empty() {
            let (rest, segment) = segment(width, input).ok()?;
            if segment.asns().contains(&Asn(0)) {
                return None;
            }
            segments.push(segment);
            input = rest;
        }
        Some(Self { segments })
    }

    pub(super) fn encode(&self, width: AsWidth, buffer: &mut BytesMut) {
        for segment in &self.segments {
            for ases in segment.asns().chunks(MAX_SEGMENT) {
                buffer.put_u8(segment.code());
                // A chunk has at most MAX_SEGMENT elements.
                buffer.put_u8(u8::try_from(ases.len()).unwrap_or(u8::MAX));
                for asn in ases {
                    match width {
                        AsWidth::Two => buffer.put_u16(asn.two_octets()),
                        AsWidth::Four => buffer.put_u32(asn.0),
                    }
                }
            }
        }
    }

    /// The AS4_PATH that must accompany this path to a two-octet peer; `None` if every ASN fits two octets (RFC 6793
    /// §4.2.2). Confederations are left out.
    pub(super) fn as4_path(&self) -> Option<Self> {
        let plain = self.without_confederations();
        if plain.asns().all(Asn::fits_two_octets) { None } else { Some(plain) }
    }

    /// This path from a two-octet peer, with its far end replaced by `as4` (RFC 6793 §4.2.3).
    ///
    /// Unchanged when `as4` is longer, which is an error of the peer.
    pub(super) fn merged_with(&self, as4: &Self) -> Self {
        let as4 = as4.without_confederations();
        let Some(mut missing) = self.hops().checked_sub(as4.hops()) else { return self.clone() };
        let mut segments: Vec<AsSegment> = Vec::with_capacity(self.segments.len() + as4.segments.len());
        for segment in &self.segments {
            let hops = segment.hops();
            match segment {
                AsSegment::Sequence(ases) if hops > missing => {
                    let leading: Vec<Asn> = ases.iter().take(missing).copied().collect();
                    if !leading.is_empty() {
                        segments.push(AsSegment::Sequence(leading));
                    }
                    break;
                }
                AsSegment::Sequence(_)
                | AsSegment::Set(_)
                | AsSegment::ConfedSequence(_)
                | AsSegment::ConfedSet(_) => {
                    let Some(still_missing) = missing.checked_sub(hops) else { break };
                    missing = still_missing;
                    segments.push(segment.clone());
                }
            }
        }
        for segment in as4.segments {
            match (segments.last_mut(), segment) {
                (Some(AsSegment::Sequence(leading)), AsSegment::Sequence(ases)) => leading.extend(ases),
                (_, segment) => segments.push(segment),
            }
        }
        Self { segments }
    }

    /// Whether part of it lies inside a confederation (RFC 5065).
    pub(super) fn has_confederations(&self) -> bool {
        self.segments.iter().any(AsSegment::is_confederation)
    }

    fn without_confederations(&self) -> Self {
        let segments = self.segments.iter().filter(|segment| !segment.is_confederation()).cloned().collect();
        Self { segments }
    }
}

impl AsSegment {
    /// The ASes of the segment.
    #[must_use]
    pub fn asns(&self) -> &[Asn] {
        match self {
            Self::Sequence(ases) | Self::Set(ases) | Self::ConfedSequence(ases) | Self::ConfedSet(ases) => {
                ases
            }
        }
    }

    const fn code(&self) -> u8 {
        match self {
            Self::Set(_) => as_segment::SET,
            Self::Sequence(_) => as_segment::SEQUENCE,
            Self::ConfedSequence(_) => as_segment::CONFED_SEQUENCE,
            Self::ConfedSet(_) => as_segment::CONFED_SET,
        }
    }

    const fn is_confederation(&self) -> bool {
        matches!(self, Self::ConfedSequence(_) | Self::ConfedSet(_))
    }

    fn hops(&self) -> usize {
        match self {
            Self::Sequence(ases) => ases.len(),
            Self::Set(ases) => usize::from(!ases.is_empty()),
            Self::ConfedSequence(_) | Self::ConfedSet(_) => 0,
        }
    }
}

impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            segment.fmt(f)?;
        }
        Ok(())
    }
}

/// `1 2` for a sequence, `{1,2}` for a set, `(1 2)` and `[1,2]` for confederation segments.
impl fmt::Display for AsSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, between, close) = match self {
            Self::Sequence(_) => ("", " ", ""),
            Self::Set(_) => ("{", ",", "}"),
            Self::ConfedSequence(_) => ("(", " ", ")"),
            Self::ConfedSet(_) => ("[", ",", "]"),
        };
        f.write_str(open)?;
        for (index, asn) in self.asns().iter().enumerate() {
            if index > 0 {
                f.write_str(between)?;
            }
            asn.fmt(f)?;
        }
        f.write_str(close)
    }
}

fn segment(width: AsWidth, input: &[u8]) -> Parsed<'_, AsSegment> {
    let malformed = nom::Err::Error(());
    let (rest, kind) = parse::octet(input)?;
    let (rest, count) = parse::octet(rest)?;
    let (rest, ases) = parse::take(usize::from(count) * octets(width), rest)?;
    let ases = match width {
        AsWidth::Two => parse::every(parse::asn_two_octets, octets(width), ases),
        AsWidth::Four => parse::every(parse::asn, octets(width), ases),
    };
    let ases = ases.filter(|ases| !ases.is_empty()).ok_or(malformed.clone())?;
    let segment = match kind {
        as_segment::SET => AsSegment::Set(ases),
        as_segment::SEQUENCE => AsSegment::Sequence(ases),
        as_segment::CONFED_SEQUENCE => AsSegment::ConfedSequence(ases),
        as_segment::CONFED_SET => AsSegment::ConfedSet(ases),
        _ => return Err(malformed),
    };
    Ok((rest, segment))
}

const fn octets(width: AsWidth) -> usize {
    match width {
        AsWidth::Two => 2,
        AsWidth::Four => 4,
    }
}

#[cfg(test)]
mod tests;
