//! The form of a line. It may change at any time, so one formatter has all forms.

use std::fmt;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing::{Level, Subscriber};
use tracing_subscriber::fmt::format::{Format, Full, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;
use vipcast_node::model::LogFormat;

static FORM: AtomicU8 = AtomicU8::new(Form::Plain as u8);

/// The form of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    /// For people, with the time.
    Plain,
    /// For the journal, with a priority (sd-daemon(3)).
    Journal,
    /// For programs.
    Json,
}

impl Form {
    /// The right form for the destination of stderr.
    pub(super) fn of(format: LogFormat) -> Self {
        match format {
            LogFormat::Json => Self::Json,
            LogFormat::Plain if is_journal() => Self::Journal,
            LogFormat::Plain => Self::Plain,
        }
    }
}

/// Sets the form of all further lines.
pub(super) fn set(form: Form) {
    FORM.store(form as u8, Ordering::Relaxed);
}

/// Whether plain lines may have colour.
pub(super) fn has_colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// Whether stderr itself, and not only that of a parent, is a socket of the journal (systemd.exec(5),
/// `JOURNAL_STREAM`).
fn is_journal() -> bool {
    let Some(stream) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    let Ok(stderr) = rustix::fs::fstat(io::stderr().as_fd()) else { return false };
    stream == format!("{}:{}", stderr.st_dev, stderr.st_ino)
}

/// Spans are left out: we have none, and those of libraries do not help an operator.
#[derive(Debug)]
pub(super) struct Event {
    plain: Format<Full>,
    journal: Format<Full, ()>,
    json: Format<Json>,
}

impl Default for Event {
    fn default() -> Self {
        Self {
            plain: Format::default().with_target(false),
            journal: Format::default().without_time().with_level(false).with_ansi(false),
            json: Format::default().json().flatten_event(true).with_current_span(false).with_span_list(false),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Event
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        match FORM.load(Ordering::Relaxed) {
            form if form == Form::Json as u8 => self.json.format_event(context, writer, event),
            form if form == Form::Journal as u8 => {
                write!(writer, "<{}>", priority(*event.metadata().level()))?;
                self.journal.format_event(context, writer, event)
            }
            _ => self.plain.format_event(context, writer, event),
        }
    }
}

/// The syslog severity of a level (RFC 5424 §6.2.1).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
