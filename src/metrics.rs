//! Metrics: the state of the node, and counts since its start, for Prometheus.
//!
//! ```text
//!  Snapshot ─► Status ─────────┐
//!  records ──► Counts ─────────┼─► families ─► GET /metrics
//!  results of checks ─► Tally ─┘
//! ```
//!
//! Nothing is kept by time or by VIP: the server that scrapes does that.

pub(crate) mod counts;
mod families;
pub(crate) mod histogram;
mod process;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

pub use self::families::{FAMILIES, Family, Kind};
use self::families::{Sample, Source, Value};
use self::process::Process;
use crate::control::snapshot::Snapshot;
use crate::control::view;

/// The format of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Prometheus, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The format for a client that accepts these types.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The media type.
    pub fn media(self) -> &'static str {
        match self {
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// All metrics.
///
/// # Errors
/// Never: the text is made in memory.
pub fn render(snapshot: &Snapshot, format: Format) -> Result<String, fmt::Error> {
    let around = &snapshot.around;
    let written = around.event_file.now();
    let source = Source {
        status: &view::status(snapshot),
        counted: &around.counts.now(),
        tallied: &around.tally.all(),
        hooks: &around.hooks.all(&around.events),
        event_file: &written,
        events_behind: written.behind(&around.events),
        process: Process::read(),
        started: around.born.as_duration().as_secs_f64(),
    };
    let values = FAMILIES.iter().map(|family| (family, family.read(&source))).collect();
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Values(values)));
    let mut text = String::new();
    match format {
        Format::Prometheus => prometheus_text::encode(&mut text, &registry)?,
        Format::OpenMetrics => text::encode(&mut text, &registry)?,
    }
    Ok(text)
}

/// The values of one answer.
#[derive(Debug)]
struct Values(Vec<(&'static Family, Vec<Sample>)>);

impl Collector for Values {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (family, samples) in &self.0 {
            let kind = match family.kind {
                Kind::Gauge => MetricType::Gauge,
                Kind::Counter => MetricType::Counter,
                Kind::Histogram => MetricType::Histogram,
            };
            let help = family.help();
            let mut metric = encoder.encode_descriptor(family.name, &help, None, kind)?;
            for Sample { labels, value } in samples {
                if labels.is_empty() {
                    put(&mut metric, value)?;
                } else {
                    put(&mut metric.encode_family(labels)?, value)?;
                }
            }
        }
        Ok(())
    }
}

fn put(metric: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
    match value {
        Value::Gauge(value) => metric.encode_gauge(value),
        Value::Counter(value) => metric.encode_counter::<NoLabelSet, _, f64>(value, None),
        Value::Histogram(histogram) => metric.encode_histogram::<NoLabelSet>(
            histogram.sum(),
            histogram.count(),
            &histogram.buckets(),
            None,
        ),
    }
}

#[cfg(test)]
mod tests;
